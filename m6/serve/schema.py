"""What the interface takes and gives, as OpenAI names it; fields of our own are marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from m6.generate.sampling import MAX_SEED

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
MOST_CHOICES = 16
Line = Annotated[str, StringConstraints(max_length=10_000)]


class ImageURL(BaseModel):
    """Where a picture is."""

    url: str
    """A data URL, `data:image/png;base64,...`."""


class Part(BaseModel):
    """A piece of a message."""

    type: Literal["text", "image_url"]
    text: Line = ""
    image_url: ImageURL | None = None


class Message(BaseModel):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Line | list[Part] | None = None


class Sampled(BaseModel):
    """How an answer is drawn."""

    model: str = ""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] = 1
    seed: Seed | None = None
    stop: Line | Annotated[list[Line], Field(max_length=4)] | None = None
    stream: bool = False


class ChatRequest(Sampled):
    """A conversation, of which the last message of the user is answered: a picture, a question, or both."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    task: Literal["", "caption", "question", "poem"] = ""
    """Ours: what is wanted; by itself a picture is described, and a question answered."""
    form: Line = ""
    """Ours: form of a poem, 五言绝句."""


class CompletionRequest(Sampled):
    """A text to go on from, asked as a question."""

    prompt: Line


class PaintRequest(BaseModel):
    """Pictures of a prompt."""

    prompt: Annotated[Line, StringConstraints(min_length=1)]
    model: str = ""
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] = 1
    size: str | None = None
    """Pixels, 256x256; those the run was trained on if left out."""
    response_format: Literal["b64_json"] | None = None
    stream: bool = False
    seed: Seed | None = None
    """Ours: picture i draws from seed + i."""
    guidance: Annotated[float, Field(ge=0, le=50)] = 1.0
    """Ours: 1 is none."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Ours."""


class MatchRequest(BaseModel):
    """A picture and texts."""

    image: str
    """A data URL."""
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
