"""Settings of the training loop. Free of torch, so that recipes and help stay light."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from m6.config import Config, Count, Decay, NotNegative, Positive, Share, Whole
from m6.data.config import DataConfig
from m6.parallel.config import ParallelConfig
from m6.vqgan.config import FeaturesConfig, LossConfig, VQGANConfig


class OptimizerConfig(Config):
    """Muon for the matrices of the blocks (if its rate is not 0), AdamW for all else; one schedule for both."""

    learning_rate: Positive = 3e-3
    """Peak rate of AdamW."""
    muon_learning_rate: NotNegative = 0.02
    """Peak rate of Muon; 0 gives every parameter to AdamW."""
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    """Decay of the first and second moment in AdamW."""
    states: Literal["float32", "8bit"] = "float32"
    """Numbers in which AdamW keeps its two moments; 8 bit, by blocks with a scale each, needs the extra "fast"."""
    momentum: Decay = 0.95
    """Momentum of Muon."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay of matrices."""
    schedule: tuple[tuple[Share, NotNegative], ...] = ((0.0, 0.0), (0.02, 1.0), (0.5, 1.0), (1.0, 0.02))
    """Points (share of all steps, share of the peak rate) from (0, ..) to (1, ..); between two of them the rate goes
    straight. The default: warm-up, plateau, linear decay."""
    clip_norm: Positive = 1.0
    """Largest norm of the gradient of all parameters together."""

    @model_validator(mode="after")
    def _schedule_spans_all_steps(self) -> Self:
        steps = [step for step, _ in self.schedule]
        if steps != sorted(steps) or steps[:1] != [0.0] or steps[-1:] != [1.0]:
            raise ValueError(f"schedule: the shares of steps must rise from 0 to 1, got {steps}")
        return self


class LoopConfig(Config):
    """One loop for both trainings."""

    may_change: ClassVar[tuple[str, ...]] = (
        "num_workers",
        "keep_checkpoints",
        "keep_every",
        "checkpointing",
        "log_every",
        "heldout_every",
        "heldout_batches",
        "max_skipped",
        "largest_rise",
    )

    num_steps: Count = 1000
    """Updates in all."""
    checkpoint_every: Whole = 100
    """Updates between two checkpoints, the last one among them; 0 writes none."""
    keep_checkpoints: Count = 2
    """How many of the newest checkpoints stay on disk."""
    keep_every: Whole = 0
    """Updates between two checkpoints that stay for good beside these, a multiple of checkpoint_every; 0 for none."""
    log_every: Count = 10
    """Updates between two rows of metrics."""
    heldout_every: Whole = 0
    """Updates between two rows that also tell the loss on held-out documents, a multiple of log_every; 0 for none."""
    heldout_batches: Count = 8
    """Batches of held-out documents for that loss, always the same."""
    max_skipped: Whole = 10
    """Updates in all that are skipped because the loss or a gradient is no number; the next one stops the training."""
    largest_rise: NotNegative = 0.0
    """Nats by which the loss, as the median of five rows, may stand above the lowest before; more stops the training.
    0 never does."""
    num_workers: Whole = 0
    """Processes that prepare batches; 0 prepares them in the training process. May change across a resume."""
    num_threads: Whole = 0
    """Threads of the computation; 0 takes one a core. A bit-exact resume needs the same number."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it is computed; "auto" takes CUDA if there is any."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Numbers of the matrix products; weights and their updates are float32 always. "auto" takes bfloat16 on CUDA and
    where the processor has units for it (AMX), else float32."""
    compile: bool = False
    """Compiles the blocks of the transformer, but for experts; the first steps then take longer."""
    checkpointing: Literal["none", "selective", "full"] = "none"
    """Activations of the blocks that are computed again on the way back, to save memory: none, all but the results of
    products and attention, or all. Routers choose once, so what they keep stays."""
    float8: bool = False
    """Matrix products of the blocks in float8, but for those of experts; on a Hopper GPU, needs the extra "fast"."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Rates and schedule."""

    @model_validator(mode="after")
    def _kept_checkpoints_are_written(self) -> Self:
        if self.keep_every and (self.checkpoint_every < 1 or self.keep_every % self.checkpoint_every):
            raise ValueError(
                f"keep_every {self.keep_every} is not a multiple of checkpoint_every {self.checkpoint_every}"
            )
        return self

    @model_validator(mode="after")
    def _heldout_rows_are_rows(self) -> Self:
        if self.heldout_every % self.log_every:
            raise ValueError(f"heldout_every {self.heldout_every} is not a multiple of log_every {self.log_every}")
        return self


class VQGANStage(Config):
    """The image tokenizer and its training."""

    may_change: ClassVar[tuple[str, ...]] = ("max_skipped", "grid_every", "grid_pictures")

    model: VQGANConfig = VQGANConfig()
    """Its shape."""
    start_from: str = ""
    """Weights that it begins with: a run folder; or published ones of kind "resnet", a folder of diffusers or a
    checkpoint of taming-transformers. Empty begins by chance."""
    frozen: bool = False
    """Takes these weights as they are; nothing is trained."""
    losses: LossConfig = LossConfig()
    """What it is trained for."""
    features: FeaturesConfig = FeaturesConfig()
    """How pictures are compared but by their pixels."""
    discriminator: OptimizerConfig = OptimizerConfig(
        learning_rate=5e-4, muon_learning_rate=0.0, betas=(0.5, 0.9), schedule=((0.0, 1.0), (0.5, 1.0), (1.0, 0.02))
    )
    """Rates and schedule of the discriminator."""
    average: Decay = 0.0
    """What a running mean of the weights keeps of itself in an update; the mean is what codes and pictures are then
    made with. 0 takes the weights as they are."""
    grid_every: Whole = 0
    """Updates between two looks at held-out pictures, a multiple of loop.log_every: a picture of originals above what
    is restored of them, and figures in that row of metrics; 0 for none."""
    grid_pictures: Annotated[int, Field(ge=2)] = 64
    """Held-out pictures for these figures; up to 16 of them are shown."""
    batch_size: Count = 32
    """Pictures in one step."""
    crop: Whole = 0
    """Side of the square, in pixels, that is cut out of each picture at a place drawn by chance, for large pictures; a
    multiple of the pixels of a code. 0 takes whole pictures."""
    max_skipped: Share = 0.01
    """Share of the pictures so far that may be unusable, as those that do not decode; a few always may."""
    loop: LoopConfig = LoopConfig()
    """Its training."""

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        if self.frozen and not self.start_from:
            raise ValueError("frozen takes the weights of start_from, which is empty")
        if self.losses.perceptual and self.features.source == "none":
            raise ValueError("losses.perceptual compares features; say by features.source where they come from")
        if self.crop % self.model.downsample:
            raise ValueError(f"crop {self.crop} is not a multiple of {self.model.downsample}, the pixels of a code")
        if self.grid_every % self.loop.log_every:
            raise ValueError(f"grid_every {self.grid_every} is not a multiple of loop.log_every {self.loop.log_every}")
        return self


class PretrainStage(Config):
    """Pretraining on all objectives."""

    data: DataConfig = DataConfig()
    """What it is trained on."""
    loop: LoopConfig = LoopConfig()
    """The training."""
    parallel: ParallelConfig = ParallelConfig()
    """How ranks that torchrun starts share it."""
    start_from: str = ""
    """Run folder whose newest pretraining weights it begins with, which become those of experts if they are dense and
    this model has experts; empty begins by chance. Both runs need the same tokenizers."""


class LoRAConfig(Config):
    """Updates of low rank beside frozen matrices."""

    rank: Whole = 0
    """Rank of the updates of the matrices of the blocks; 0 trains the whole model instead."""
    alpha: Positive = 16.0
    """The updates count alpha / rank times."""


class FinetuneStage(Config):
    """Finetuning a trained run on one task."""

    may_change: ClassVar[tuple[str, ...]] = ("max_skipped",)

    task: str = ""
    """The task, by name."""
    data: str = ""
    """Its data: a folder of a known format, or one with train.jsonl and, if there is one, validation.jsonl."""
    start_from: str = ""
    """Run folder whose newest weights it begins with, finetuned ones if it has some."""
    samples: Count = 32
    """Samples in one step; questions about one picture are one sample."""
    jitter: Share = 0.0
    """Share of their side by which training pictures are shifted, enlarged or made smaller by chance, where the model
    reads pixels; not for questions about where things are."""
    fresh: bool = False
    """Begins with weights drawn by chance, to see what pretraining has brought."""
    blind: bool = False
    """Leaves all pictures out, in training and when it is measured, to see what they bring."""
    lora: LoRAConfig = LoRAConfig()
    """Training of few weights instead of all."""
    loop: LoopConfig = LoopConfig(
        num_steps=300,
        heldout_every=50,
        largest_rise=2.0,
        optimizer=OptimizerConfig(
            learning_rate=1e-3, muon_learning_rate=5e-3, schedule=((0.0, 0.0), (0.05, 1.0), (1.0, 0.02))
        ),
    )
    """The training."""
    parallel: ParallelConfig = ParallelConfig()
    """How ranks that torchrun starts share it."""
    max_skipped: Share = 0.01
    """Share of the samples so far that may be unusable, as pictures that do not decode; a few always may."""


class EvaluateStage(Config):
    """What is scored."""

    num_samples: Count = 200
    """Documents for each score, at the most."""
    num_poems: Count = 32
    """Poems written for held-out titles."""
    judge_scenes: Count = 8000
    """Fresh scenes on which the judge of paintings is trained, apart from the model."""
    judge_steps: Count = 700
    """Updates of the judge."""
    guidance: NotNegative = 1.0
    """How strictly paintings follow their prompt; 1 is no more than learnt."""
    candidates: Whole = 0
    """Paintings that are drawn by chance of every scene, of which the model chooses one; 0 draws none."""


class TaskEvaluation(Config):
    """How a trained run is measured on a task."""

    task: str = ""
    """The task, by name."""
    data: str = ""
    """Its data: a folder of a known format, one with test.jsonl, or such a file."""
    split: str = "test"
    """Which part of it: train, validation, test, or a part of test such as test-concept."""
    num_examples: Whole = 0
    """Examples, spread over all of them; 0 takes all."""
    shots: Whole = 0
    """Examples of the training split that stand with their answers before each request (few-shot in context)."""
    answers: Literal["auto", "written", "chosen"] = "auto"
    """Whether answers are written freely or chosen by likelihood, among the example's choices or else the answers of
    the training split to questions of its kind; "auto" is what the task is meant for."""
    chosen_by: Literal["auto", "pmi", "likelihood"] = "auto"
    """What a choice or a text is ranked by: "likelihood" is log p(choice | request); "pmi", the pointwise mutual
    information, takes log p(choice) away, so that what is common by itself has no advantage. "auto" is "pmi" for texts
    about pictures (matching, retrieval), "likelihood" for answers to a question."""
    beams: Count = 1
    """Answers that are followed up at once when one is written; 1 takes the likeliest token each time."""
    temperature: NotNegative = 0.0
    """0 takes the likeliest token; 1 samples as learnt."""
    top_p: Share = 1.0
    """Sample among the likeliest tokens that together reach this probability."""
    guidance: NotNegative = 1.0
    """How strictly a painting follows its prompt; 1 is no more than learnt."""
    candidates: Count = 1
    """Paintings of a text, of which the one counts that the model finds to fit best."""
    form: bool = True
    """Whether poems are held to their form while they are written."""
    baselines: bool = True
    """Whether what has learnt nothing is measured too; the nearest picture needs all pictures of training."""
    seed: Whole = 0
    """Start of everything that is drawn by chance."""
