"""What stands beside the weights in a Hugging Face folder, written out of a run folder.

config.json, generation_config.json, tokenizer.json and tokenizer_config.json, processor_config.json and
preprocessor_config.json, chat_template.jinja, and README.md, the model card.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, processors
from transformers import GenerationConfig, PreTrainedTokenizerFast

from m6 import __version__
from m6.config import UserError
from m6.corpus.config import CorpusConfig, ImageRules
from m6.corpus.licences import licence_of
from m6.data.config import DataConfig
from m6.generate.answers import MAX_CAPTION
from m6.interop.configuration import M6Config
from m6.interop.modeling import M6ForConditionalGeneration
from m6.interop.processing import CHAT_TEMPLATE, M6ImageProcessor, M6Processor
from m6.model.config import ModelConfig
from m6.run import write_atomic
from m6.shipped import LICENCE, is_shipped
from m6.tokenizer.vocabulary import END, PAD, TEXT
from m6.vqgan.config import VQGANConfig


def write_beside(run: Path, folder: Path) -> None:
    """Writes all but the weights. UserError if the run is not whole, or reads pictures in a way that cannot be told."""
    config, processor = config_of(run), processor_of(run)
    config.save_pretrained(folder)
    GenerationConfig(bos_token_id=TEXT, eos_token_id=END, pad_token_id=PAD, max_new_tokens=MAX_CAPTION).save_pretrained(
        folder
    )
    processor.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    write_atomic(folder / "README.md", card(run))


def config_of(run: Path) -> M6Config:
    """The config of a run. UserError if it reads pictures by what stands beside the model."""
    recipe = run / "config.json"
    if DataConfig.read(recipe, section="pretrain.data").image_input != "pixels":
        raise UserError(
            f"{run}: its model reads pictures as codes (pretrain.data.image_input), which a Hugging Face folder does"
            " not hold; --form weights writes the weights alone"
        )
    size = ModelConfig.read(recipe, section="model")
    if size.stem == "crops":
        raise UserError(
            f"{run}: its model reads pictures by a vision model in a folder of its own (model.stem), which a Hugging"
            " Face folder does not hold; --form weights writes the weights alone"
        )
    codes = VQGANConfig.read(recipe, section="vqgan.model")
    return M6Config(
        transformer=size.model_dump(mode="json"),
        vqgan=codes.model_dump(mode="json") if size.stem == "backbone" else None,
        vocab_size=Tokenizer.from_file(str(_tokenizer(run))).get_vocab_size(),
        num_codes=codes.num_codes,
        image_size=CorpusConfig.read(recipe, section="corpus").image_size,
        architectures=[M6ForConditionalGeneration.__name__],
        dtype="float32",
    )


def processor_of(run: Path) -> M6Processor:
    """The processor of a run."""
    config = config_of(run)
    sources = CorpusConfig.read(run / "config.json", section="corpus").sources
    rules = sources["emoji"].images if "emoji" in sources else ImageRules()
    rows, columns = config.patch_grid
    return M6Processor(
        M6ImageProcessor(image_size=config.image_size, crop=rules.crop, margin=rules.margin),
        tokenizer_of(run),
        num_image_tokens=rows * columns,
        chat_template=CHAT_TEMPLATE,
    )


def tokenizer_of(run: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a run, which puts `<text>` behind a text: what is written then is the answer."""
    tokenizer = Tokenizer.from_file(str(_tokenizer(run)))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <text>", special_tokens=[("<text>", TEXT)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<text>",
        eos_token="<end>",
        mask_token="<mask>",
        extra_special_tokens={"image_token": "<image>", "match_token": "<match>"},
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _tokenizer(run: Path) -> Path:
    path = run / "tokenizer" / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path}: missing; {run} is no whole run folder")
    return path


def card(run: Path) -> str:
    """The model card: what it is, what it was trained on under which licences, its scores or where they stand. The
    weights of the package have a licence of their own."""
    recipe = run / "config.json"
    sources = CorpusConfig.read(recipe, section="corpus").sources
    size = ModelConfig.read(recipe, section="model")
    licences = [f"| {name} | {licence_of(source) or 'see the source'} |" for name, source in sources.items()]
    scores = list(_scores(run))
    ours = is_shipped(run)
    named = (
        (f"license: {LICENCE}",) if ours else ("license: other", "license_name: of-its-data", "license_link: '#data'")
    )
    free = "The code and the weights are" if ours else "The code is"
    unmeasured = f"They stand in the manual of Open M6, `docs/en/{run.name}.md`." if ours else "None were measured."
    table = ["| task | score | value | 95 % | examples |", "| --- | --- | --- | --- | --- |", *scores]
    return "\n".join([
        *("---", "language: zh", "library_name: transformers", "pipeline_tag: image-text-to-text"),
        *(*named, "tags: [m6, chinese]", "---", ""),
        *("# An open M6", ""),
        f"Trained with Open M6 {__version__}: one transformer of {size.num_layers}"
        f" layers and width {size.hidden_size}, stem `{size.stem}`, that reads pictures and writes Chinese.",
        *("", "```python", *EXAMPLE, "```", ""),
        *("It answers one message. It is small and has seen little; what it says is not to be relied upon.", ""),
        *("## Data", "", f"{free} under Apache-2.0; the weights were learnt from data under these licences:", ""),
        *("| source | licence |", "| --- | --- |", *licences, "", "## Scores", ""),
        *(table if scores else [unmeasured]),
        "",
    ])  # fmt: skip


EXAMPLE = (
    "import m6  # tells transformers of it: pip install 'open-m6[huggingface]'",
    "from transformers import pipeline",
    "",
    'pipe = pipeline("image-text-to-text", model=".")',
    'content = [{"type": "image", "path": "cat.png"}, {"type": "text", "text": "这是什么？"}]',
    'pipe([{"role": "user", "content": content}])',
)


def _scores(run: Path) -> Iterator[str]:
    """Rows of the table: the main score of every task that was measured; else those of the evaluation stage."""
    measured = 0
    for path in sorted((run / "evaluate").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and {"task", "main", "scores"} <= found.keys():
            score = found["scores"][found["main"]]
            bounds = f"{score['low']:.3f} to {score['high']:.3f}"
            yield f"| {path.stem} | {found['main']} | {score['value']:.3f} | {bounds} | {score['examples']} |"
            measured += 1
    flat = run / "evaluate" / "scores.json"
    if not measured and flat.is_file():
        for name, value in json.loads(flat.read_text(encoding="utf-8")).items():
            yield f"| evaluation | {name} | {value} | | |"
