"""What the interface takes and gives, as OpenAI names it; fields of our own are marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from m6.generate.sampling import MAX_SEED

MOST_CHOICES = 16


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 2.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
Seed = Annotated[Integer, Field(ge=0, le=MAX_SEED)]
Line = Annotated[str, StringConstraints(max_length=10_000)]


class Asked(BaseModel):
    """What callers send; true is no number, and "1" neither."""

    model_config = ConfigDict(strict=True)


class ImageURL(Asked):
    """Where a picture is."""

    url: str
    """A data URL, `data:image/png;base64,...`; or an address, if the server fetches any."""


class Part(Asked):
    """A piece of a message."""

    type: Literal["text", "image_url"]
    text: Line = ""
    image_url: ImageURL | None = None


class Message(Asked):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Line | list[Part] | None = None


class Sampled(Asked):
    """How an answer is drawn."""

    model: str = ""
    max_tokens: Annotated[Integer, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    n: Annotated[Integer, Field(ge=1, le=MOST_CHOICES)] = 1
    seed: Seed | None = None
    stop: Line | Annotated[list[Line], Field(max_length=4)] | None = None
    stream: bool = False


class ChatRequest(Sampled):
    """A conversation, of which the last message of the user is answered: a picture, a question, or both."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1_000)]
    max_completion_tokens: Annotated[Integer, Field(ge=1)] | None = None
    task: Literal["", "caption", "question", "poem"] = ""
    """Ours: what is wanted; by itself a picture is described, and a question answered."""
    form: Annotated[str, StringConstraints(max_length=20)] = ""
    """Ours: form of a poem, 五言绝句."""


class CompletionRequest(Sampled):
    """A text to go on from, asked as a question."""

    prompt: Line


class PaintRequest(Asked):
    """Pictures of a prompt."""

    prompt: Annotated[Line, StringConstraints(min_length=1)]
    model: str = ""
    n: Annotated[Integer, Field(ge=1, le=MOST_CHOICES)] = 1
    size: Annotated[str, StringConstraints(max_length=20)] | None = None
    """Pixels, 256x256; those the run was trained on if left out."""
    response_format: Literal["b64_json"] | None = None
    stream: bool = False
    best: Annotated[Integer, Field(ge=0, le=MOST_CHOICES)] = 0
    """Ours: how many of the n are given, those that fit the prompt best, best first; 0 gives all."""
    seed: Seed | None = None
    """Ours: picture i draws from seed + i."""
    guidance: Annotated[float, Field(ge=0, le=50)] = 1.0
    """Ours: 1 is none."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Ours."""


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
