"""What the interface takes and gives, as OpenAI names it; fields of our own are marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag

from m6.generate.sampling import MAX_SEED

MOST_CHOICES = 16


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 2.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _kind(value: Any) -> str:
    """Which of the forms of a content it is: an error then tells of that one alone."""
    return PARTS if isinstance(value, list) else LINE


LINE, PARTS = "-line", "-parts"  # no words that a caller could send, so that they can be told from names of fields
WHOLE = BeforeValidator(_whole)
Choices = Annotated[int, Field(ge=1, le=MOST_CHOICES), WHOLE]
Tokens = Annotated[int, Field(ge=1), WHOLE]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE]
Line = Annotated[str, StringConstraints(max_length=10_000)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=10_000), Field(json_schema_extra={"pattern": r"\S"})]
"""A text that says something."""
Size = Annotated[str, StringConstraints(pattern=r"^(auto|[0-9]+(x[0-9]+)?)?$", max_length=20)]

PART = '{"type": "text", "text": ...} or {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}'
HINTS = {
    "stop": "it has to be a text, or a list of at most 4",
    "size": "it has to be pixels, as 256, or width x height, as 384x256",
    "tools": "this model calls none; leave them out",
    "logprobs": "they are not given; leave it out",
    "response_format.type": "answers are plain text; leave response_format out",
}
"""What is said of a field instead of what its type says."""


class Asked(BaseModel):
    """What callers send; true is no number, and "1" neither. Where null is allowed, it is as if left out."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True)


class ImageURL(Asked):
    """Where a picture is."""

    url: str
    """A data URL, `data:image/png;base64,...`; or an address, if the server fetches any."""


class Part(Asked):
    """A piece of a message."""

    type: Literal["text", "image_url"]
    text: Line | None = None
    image_url: ImageURL | None = None


class Message(Asked):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[Annotated[Line, Tag(LINE)] | Annotated[list[Part], Tag(PARTS)], Discriminator(_kind)] | None = (
        None
    )
    """A text, or parts, with one picture at most."""


class StreamOptions(Asked):
    """What a stream tells."""

    include_usage: bool | None = None
    """Tokens, in a last event of their own."""


class TextFormat(Asked):
    """How an answer looks."""

    type: Literal["text"]


class Sampled(Asked):
    """How an answer is drawn."""

    model: str | None = None
    """The id that /v1/models gives, or m6, or nothing."""
    max_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """0, the likeliest; of poems 0.8."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """1; of poems 0.9."""
    n: Choices | None = None
    """1."""
    seed: Seed | None = None
    stop: Line | Annotated[list[Line], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: Literal[False] | None = None
    """Not given."""


class ChatRequest(Sampled):
    """A conversation, of which the last message of the user is answered: a picture, a question, or both."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1_000)]
    """The last message of the user is answered, about its picture or else the last one before it. What system,
    developer, assistant and tool say, and earlier texts of the user, is not read: the model has learnt no dialogue."""
    max_completion_tokens: Tokens | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    """None can be called."""
    response_format: TextFormat | None = None
    task: Literal["", "caption", "question", "poem"] | None = None
    """Ours: what is wanted; by itself a picture is described, and a question answered."""
    form: Annotated[str, StringConstraints(max_length=20)] | None = None
    """Ours: form of a poem, 五言绝句."""


class CompletionRequest(Sampled):
    """A text to go on from, asked as a question."""

    prompt: Words


class PaintRequest(Asked):
    """Pictures of a prompt."""

    prompt: Words
    model: str | None = None
    """The id that /v1/models gives, or m6, or nothing."""
    n: Choices | None = None
    """1."""
    size: Size | None = None
    """Pixels, 256x256; those the run was trained on if left out."""
    response_format: Literal["b64_json"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3), WHOLE] | None = None
    """Pictures of a stream that are shown while they are painted, at most so many of each; about 15 if left out."""
    best: Annotated[int, Field(ge=0, le=MOST_CHOICES), WHOLE] | None = None
    """Ours: how many of the n are given, those that fit the prompt best, best first; 0 gives all."""
    seed: Seed | None = None
    """Ours: picture i draws from seed + i."""
    guidance: Annotated[float, Field(ge=0, le=50)] | None = None
    """Ours: 1 is none, and what is taken if it is left out."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Ours: 1 if it is left out."""


class MatchRequest(Asked):
    """A picture and texts."""

    image: str
    """A data URL, or an address, if the server fetches any."""
    texts: Annotated[list[Line], Field(min_length=1, max_length=256)]


class MatchAnswer(BaseModel):
    """How well each text fits."""

    scores: list[float]
    """log p(text | picture) - log p(text), nats; higher fits better."""


class Said(BaseModel):
    """What an answer says."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """One answer of a chat."""

    index: int
    message: Said
    finish_reason: Literal["stop", "length"]


class TextChoice(BaseModel):
    """One continuation."""

    index: int
    text: str
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    """Tokens that were read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatAnswer(BaseModel):
    """All answers."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class CompletionAnswer(BaseModel):
    """All continuations."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage


class Painted(BaseModel):
    """One picture."""

    b64_json: str
    seed: int
    """Ours: what it was drawn from; the same request with this seed and n 1 paints it again."""
    score: float | None = None
    """Ours, with `best`: how much likelier the picture makes the prompt, nats a token."""


class PaintAnswer(BaseModel):
    """All pictures, PNG files in base64."""

    created: int
    data: list[Painted]


class Model(BaseModel):
    """The run that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "m6"
    pixels: int
    """Ours: side of the pictures that it was trained on."""
    able: dict[str, bool]
    """Ours: what it has learnt: look, write, paint, match."""


class Models(BaseModel):
    """All there are: one."""

    object: Literal["list"] = "list"
    data: list[Model]


class Fault(BaseModel):
    """What went wrong, and what to do."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Failed(BaseModel):
    """An error as OpenAI has it."""

    error: Fault


def failed(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    return Failed(error=Fault(message=message, type=kind, code=code, param=param)).model_dump()
