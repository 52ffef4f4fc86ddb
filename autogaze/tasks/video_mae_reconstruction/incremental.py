"""Incremental reconstruction of one frame, again and again, each time with another patch added.

A plain reconstruction runs the whole clip. Here what the frame sees of the past is kept
(:mod:`autogaze.tasks.video_mae_reconstruction.kv_cache`), as are the embedded patches, so that trying a set
of k patches costs the encoder k tokens, and the decoder the places of one frame.

Fastest possible form: with d the width of the encoder and D that of the decoder (perceptrons four times as
wide), p places a frame and m gazes in the frames before, a try costs ``24 d^2 k`` FLOPs in each block of the
encoder and ``24 D^2 p`` in each of the decoder for the matrix products, and ``4 d k (m + k)`` and
``4 D p (m + p)`` for attention; the last block spares the places that become no pixels their queries and
perceptrons. :func:`trial_work` counts it, and the code does no more than that: 1.34 GFLOP for the embedded
reconstructor at k = m = 30. It takes one core of an AMD EPYC with AVX-512 19 ms, 70 GFLOP a second where a
bare product of such matrices reaches 98. What is left: the first block projects mask tokens, which are the
same in every try (4 % of the work).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from autogaze.errors import InputError
from autogaze.gaze.patch_embedding import all_patches
from autogaze.tasks.video_mae_reconstruction import VideoMAEConfig, VideoMAEReconstruction
from autogaze.tasks.video_mae_reconstruction.kv_cache import Memory, run_blocks
from autogaze.tasks.video_mae_reconstruction.losses import reconstruction_loss
from autogaze.work import Work, transformer_work

_ROWS_AT_A_TIME = {"cpu": 1_100, "cuda": 200_000}
"""Tokens of the decoder computed at a time: on a CPU as many as its caches hold, on a GPU as many as fill
it."""


class IncrementalReconstruction:
    """The reconstruction of a batch of clips, one frame after another.

    :meth:`frames` and :meth:`losses` try patches for the current frame, as often as wanted, and
    :meth:`advance` fixes them and goes on to the next frame. The results are those of
    ``task.forward_output(..., frame_idx_to_reconstruct=[frame])`` up to rounding.

    ``video`` is (B, T, 3, H, W), normalised. Raises ``InputError`` for a video that does not fit the task,
    and for a task that is not causal.
    """

    @torch.inference_mode()
    def __init__(self, task: VideoMAEReconstruction, video: Tensor) -> None:
        if not task.config.causal:
            raise InputError(
                "the reconstructor is not causal (causal: false), so frames cannot be searched one after "
                "another; use one whose frames see only themselves and those before"
            )
        self._targets = task.target_features({"video_for_task": video})
        self.grid = task.config.grid
        self.frame = 0
        self._mae, self._video = task.mae, video
        clips, frames = video.shape[:2]
        gaze = all_patches(clips, frames, self.grid, video.device)
        layout = gaze.layout("block_causal", class_token=True)
        tokens = task.mae.vit.embeddings(video, gaze, layout)
        class_tokens, patches = layout.without_class_token(tokens)
        self._patches = patches.unflatten(0, (clips, frames, self.grid.patches_per_frame))
        self._places = task.mae.decoder.places()
        self._seen_by_encoder = [Memory.empty(task.mae.vit.encoder.layer) for _ in video]
        self._seen_by_decoder = [Memory.empty(task.mae.decoder.decoder_layers) for _ in video]
        self._see_class_token(class_tokens)

    @torch.inference_mode()
    def frames(self, clips: Sequence[int], patches: Tensor) -> Tensor:
        """Return the current frame of some clips, reconstructed from sets of patches.

        ``patches`` (len(clips), sets, k) int64 are patch indices. Returns (len(clips), sets, 3, H, W).
        """
        index = torch.as_tensor(clips, device=patches.device)
        encoded = self._encode(index, patches, remember=False)
        blank = self._mae.decoder.mask_token[0] + self._decoder_places()
        x = blank.expand(*patches.shape[:2], -1, -1).clone()
        x.scatter_(2, patches[..., None].expand(-1, -1, -1, x.shape[-1]), encoded)
        memories = [self._seen_by_decoder[clip] for clip in clips]
        finest = run_blocks(self._mae.decoder.decoder_layers, x, memories, last_rows=self.grid.counts[-1])
        return self._mae.unpatchify(self._mae.decoder.decoder_pred(self._mae.decoder.decoder_norm(finest)))

    def frames_at_best(self, clips: Sequence[int]) -> list[Tensor]:
        """Return the current frame of some clips, (len(clips), 3, H, W), from all patches of each scale."""
        patches = torch.arange(self.grid.patches_per_frame, device=self.device)
        return [
            self.frames(clips, scale.expand(len(clips), 1, -1))[:, 0]
            for scale in patches.split(list(self.grid.counts))
        ]

    @torch.inference_mode()
    def losses(self, clips: Sequence[int], frames: Tensor) -> Tensor:
        """Return the (len(clips), sets) losses of what :meth:`frames` gave for ``clips``."""
        index = torch.as_tensor(clips, device=frames.device)
        targets = {loss: features[index, self.frame, None] for loss, features in self._targets.items()}
        return reconstruction_loss(self._mae, frames, self.original(clips)[:, None], targets)

    @property
    def device(self) -> torch.device:
        return self._video.device

    def original(self, clips: Sequence[int]) -> Tensor:
        """Return the current frame of some clips, (len(clips), 3, H, W)."""
        return self._video[torch.as_tensor(clips, device=self._video.device), self.frame]

    def sets_at_a_time(self, clips: int) -> int:
        """Return how many sets of each of ``clips`` clips to try in one call, for the device's sake."""
        rows = _ROWS_AT_A_TIME.get(self._video.device.type, _ROWS_AT_A_TIME["cuda"])
        return max(1, rows // (clips * self.grid.patches_per_frame))

    @torch.inference_mode()
    def advance(self, chosen: Sequence[Sequence[int]]) -> None:
        """Keep the patches chosen in the current frame, those of each clip, and go on to the next frame."""
        for clip, patches in enumerate(chosen):
            index = torch.tensor(patches, dtype=torch.int64, device=self._video.device)[None, None]
            encoded = self._encode(torch.tensor([clip], device=index.device), index, remember=True)
            run_blocks(
                self._mae.decoder.decoder_layers,
                encoded,
                [self._seen_by_decoder[clip]],
                remember=True,
            )
        self.frame += 1

    def _encode(self, clips: Tensor, patches: Tensor, *, remember: bool) -> Tensor:
        """Return (clips, sets, k, decoder width): what the decoder puts at the places of ``patches``."""
        vit = self._mae.vit
        tokens = self._patches[clips[:, None, None], self.frame, patches]
        memories = [self._seen_by_encoder[clip] for clip in clips.tolist()]
        encoded = vit.layernorm(run_blocks(vit.encoder.layer, tokens, memories, remember=remember))
        projected: Tensor = self._mae.decoder.decoder_embed(encoded)
        return projected + self._decoder_places()[patches]

    def _decoder_places(self) -> Tensor:
        """(patches_per_frame, decoder width): what marks the places of the current frame."""
        time = self._mae.decoder.time_embed
        return self._places if time is None else self._places + time[self.frame]

    def _see_class_token(self, class_tokens: Tensor) -> None:
        """Put the class token of each clip, (B, width), into the memories."""
        vit, decoder = self._mae.vit, self._mae.decoder
        x = class_tokens[:, None, None]
        x = vit.layernorm(run_blocks(vit.encoder.layer, x, self._seen_by_encoder, remember=True))
        x = decoder.decoder_embed(x) + decoder.decoder_pos_embed[0, :1]
        run_blocks(decoder.decoder_layers, x, self._seen_by_decoder, remember=True)


def trial_work(config: VideoMAEConfig, chosen: int, before: int) -> Work:
    """Return the least work of trying one set of ``chosen`` patches, with ``before`` gazes in earlier frames.

    Networks of feature losses are not counted.
    """
    places, shown, size = config.grid.patches_per_frame, config.grid.counts[-1], 4
    width, narrow = config.hidden_size, config.decoder_hidden_size
    hidden, narrow_hidden = config.intermediate_size, config.decoder_intermediate_size
    seen = 1 + before
    encoder = transformer_work(
        config.num_hidden_layers, width, hidden, chosen, chosen * (seen + chosen), size
    )
    decoder = transformer_work(
        config.decoder_num_hidden_layers, narrow, narrow_hidden, places, places * (seen + places), size
    )
    pixels = config.num_channels * config.patch_size**2
    # Coarse places need no query, no output and no perceptron in the last block.
    spared = 2 * (places - shown) * (2 * narrow**2 + 2 * narrow * narrow_hidden)
    spared += 4 * narrow * (places - shown) * (seen + places)
    linear = 2 * chosen * width * narrow + 2 * shown * narrow * pixels
    return encoder + decoder + Work(linear - spared)
