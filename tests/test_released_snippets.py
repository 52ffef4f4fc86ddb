"""What the released documentation shows runs as it is written there.

The folders it would fetch from the hub lie under their hub ids in the working directory, with small seeded
weights.
"""

from pathlib import Path
from typing import Any

import av
import pytest
import torch

from autogaze.embedded import clip_path
from tests.hub_folders import write_gaze_model, write_siglip


@pytest.fixture
def video_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A video, and the hub's folders in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_gaze_model("nvidia/AutoGaze")
    write_siglip("google/siglip2-base-patch16-224", 224, 16)
    write_siglip("google/siglip2-so400m-patch14-384", 384, 14)
    return str(clip_path())


def test_choosing_patches_and_encoding_them(video_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoImageProcessor

    from autogaze.datasets.video_utils import read_video_pyav, transform_video_for_pytorch
    from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor
    from autogaze.vision_encoders.siglip import SiglipVisionModel

    autogaze_transform = AutoGazeImageProcessor.from_pretrained("nvidia/AutoGaze")
    autogaze_model = AutoGaze.from_pretrained("nvidia/AutoGaze")

    container = av.open(video_path)
    sample_indices = list(range(autogaze_model.config.max_num_frames))
    raw_video = read_video_pyav(container=container, indices=sample_indices)
    container.close()

    video_input_autogaze = transform_video_for_pytorch(raw_video, autogaze_transform)
    video_input_autogaze = video_input_autogaze[None]
    with torch.inference_mode():
        gaze_outputs = autogaze_model(
            {"video": video_input_autogaze}, gazing_ratio=0.1, task_loss_requirement=0.7
        )

    print(gaze_outputs["gazing_pos"].shape)
    print(gaze_outputs["if_padded_gazing"].shape)
    print((~gaze_outputs["if_padded_gazing"]).sum(dim=-1))
    print(gaze_outputs["num_gazing_each_frame"])

    siglip_transform = AutoImageProcessor.from_pretrained("google/siglip2-base-patch16-224")
    siglip_model = SiglipVisionModel.from_pretrained(
        "google/siglip2-base-patch16-224",
        scales=autogaze_model.config.scales,
        attn_implementation="sdpa",
    )
    video_input_siglip = transform_video_for_pytorch(raw_video, siglip_transform)
    video_input_siglip = video_input_siglip[None]
    siglip_outputs = siglip_model(video_input_siglip, gazing_info=gaze_outputs)
    print(siglip_outputs.last_hidden_state.shape)
    last_hidden_state = [
        f[~if_pad] for f, if_pad in zip(siglip_outputs.last_hidden_state, gaze_outputs["if_padded_gazing"])
    ]

    slots = gaze_outputs["gazing_pos"].shape[1]
    assert video_input_siglip.shape == (1, 16, 3, 224, 224)
    assert video_input_siglip.abs().max() <= 1
    assert capsys.readouterr().out.splitlines()[-1] == f"torch.Size([1, {slots}, 32])"
    assert len(gaze_outputs["num_gazing_each_frame"]) == 16
    assert len(last_hidden_state[0]) == (~gaze_outputs["if_padded_gazing"]).sum()


def test_encoders_of_any_input_and_patch_size(video_path: str) -> None:
    from transformers import AutoImageProcessor

    from autogaze.datasets.video_utils import read_video_pyav, transform_video_for_pytorch
    from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor
    from autogaze.vision_encoders.siglip import SiglipVisionModel

    with av.open(video_path) as container:
        raw_video = read_video_pyav(container=container, indices=list(range(2)))
    autogaze_model: Any = AutoGaze.from_pretrained("nvidia/AutoGaze", revision="main")
    autogaze_392_transform = AutoGazeImageProcessor.from_pretrained("nvidia/AutoGaze", size=(392, 392))
    video_input_autogaze_392 = transform_video_for_pytorch(raw_video, autogaze_392_transform)[None]
    with torch.inference_mode():
        gaze_outputs_392 = autogaze_model(
            {"video": video_input_autogaze_392},
            gazing_ratio=0.1,
            task_loss_requirement=0.7,
            target_scales=[56, 112, 196, 392],
            target_patch_size=14,
        )

    siglip_384_transform = AutoImageProcessor.from_pretrained("google/siglip2-so400m-patch14-384")
    siglip_384_model = SiglipVisionModel.from_pretrained(
        "google/siglip2-so400m-patch14-384", scales="56+112+196+392", attn_implementation="sdpa"
    )
    video_input_siglip_384 = transform_video_for_pytorch(raw_video, siglip_384_transform)[None]
    siglip_outputs_384 = siglip_384_model(video_input_siglip_384, gazing_info=gaze_outputs_392)

    assert video_input_siglip_384.shape == (1, 2, 3, 384, 384)
    assert siglip_outputs_384.last_hidden_state.shape == (*gaze_outputs_392["gazing_pos"].shape, 32)


def test_streaming_frame_by_frame(video_path: str) -> None:
    from autogaze.datasets.video_utils import read_video_pyav, transform_video_for_pytorch
    from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor

    autogaze_transform = AutoGazeImageProcessor.from_pretrained("nvidia/AutoGaze")
    autogaze_model: Any = AutoGaze.from_pretrained("nvidia/AutoGaze")
    with av.open(video_path) as container:
        raw_video = read_video_pyav(container=container, indices=list(range(8)))
    video = transform_video_for_pytorch(raw_video, autogaze_transform)[None]
    with torch.inference_mode():
        gaze_outputs = autogaze_model({"video": video}, gazing_ratio=0.1)

    outputs = []
    past_key_values = past_inputs_embeds = past_attention_mask = past_conv_values = None
    for t in range(video.shape[1]):
        output = autogaze_model(
            {"video": video[:, t : t + 1]},
            gazing_ratio=0.1,
            generate_only=True,
            use_cache=True,
            past_key_values=past_key_values,
            past_inputs_embeds=past_inputs_embeds,
            past_attention_mask=past_attention_mask,
            past_conv_values=past_conv_values,
        )
        outputs.append(output)
        past_key_values, past_inputs_embeds = output["past_key_values"], output["past_input_embeds"]
        past_attention_mask, past_conv_values = output["past_attention_mask"], output["past_conv_values"]

    patches = autogaze_model.num_vision_tokens_each_frame
    streaming_gazing_pos = torch.cat([o["gazing_pos"] + patches * t for t, o in enumerate(outputs)], dim=1)
    assert torch.allclose(gaze_outputs["gazing_pos"], streaming_gazing_pos)


def test_looking_at_what_was_chosen(video_path: str) -> None:
    from autogaze.datasets.video_utils import read_video_pyav, transform_video_for_pytorch
    from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor
    from autogaze.utils import UnNormalize, get_gazing_pos_from_gazing_mask

    autogaze_transform = AutoGazeImageProcessor.from_pretrained("nvidia/AutoGaze")
    autogaze_model: Any = AutoGaze.from_pretrained("nvidia/AutoGaze", use_flash_attn=False, device_map=None)
    with av.open(video_path) as container:
        raw_video = read_video_pyav(container=container, indices=list(range(2)))
    video = autogaze_transform(images=list(raw_video), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        gaze_outputs = autogaze_model({"video": video}, gazing_ratio=0.1)
    unnormalize = UnNormalize(
        autogaze_transform.image_mean, autogaze_transform.image_std, autogaze_transform.rescale_factor
    )
    pictures = unnormalize(transform_video_for_pytorch(raw_video, autogaze_transform))
    positions, padded = get_gazing_pos_from_gazing_mask(torch.cat(gaze_outputs["gazing_mask"], -1).flatten(1))

    assert pictures.shape == (2, 3, 224, 224)
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert positions.tolist() == gaze_outputs["gazing_pos"].sort(dim=1).values.tolist()
    assert not padded.any()
    assert (gaze_outputs["log_action_probs"] < 0).all()
