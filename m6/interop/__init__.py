"""A trained M6 as a model of Hugging Face's transformers: config, model, processor, the folder they come from, ONNX.

`import m6` is enough: the classes are registered when transformers is asked for its Auto classes, see
`m6.interop.registration`. Needs the extra `huggingface`. The model is the native `Transformer`, wrapped; nothing of it
is written a second time.
"""
