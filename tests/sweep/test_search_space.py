from __future__ import annotations

import pytest

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.errors import UserError
from receipt_trainer.sweep.search_space import read_axis


def test_values_are_those_of_the_configuration() -> None:
    """What YAML reads as a text is the field's number in the end, and lists stay lists."""
    assert read_axis("--learning-rates", "learning_rate", "5e-5, 3e-05", "layoutlm").choices == (5e-5, 3e-5)
    assert read_axis("--set", "allowed_labels", "[TOTAL, DATE],[]", "layoutlm").choices == (["TOTAL", "DATE"], [])
    assert read_axis("--set", "augment", "true,no", "layoutlm").choices == (True, False)
    assert read_axis("--set", "dropout", "0.1,null", "layoutlm").choices == (0.1, None)
    assert read_axis("--set", "max_samples", "10,20", "layoutlm").section == "data_config"


def test_ranges() -> None:
    """LOW:HIGH is a range: by its logarithm for learning rates, of whole numbers where the field is one."""
    rate = read_axis("--learning-rates", "learning_rate", "1e-5:1e-4", "layoutlm")
    assert (rate.low, rate.high, rate.is_log, rate.is_whole) == (1e-5, 1e-4, True, False)
    size = read_axis("--batch-sizes", "batch_size", "4:64", "layoutlm")
    assert (size.low, size.high, size.is_log, size.is_whole) == (4.0, 64.0, False, True)


def test_keys_in_sections() -> None:
    """A dot leads into a section of either configuration, for values and for ranges."""
    axis = read_axis("--set", "lora.r", "8,16", "paddleocr-vl")
    assert (axis.section, axis.key, axis.choices) == ("training_config", "lora.r", (8, 16))
    assert read_axis("--set", "loss.use_focal", "true,false", "paddleocr-vl").choices == (True, False)
    assert read_axis("--set", "augmentation.rotation_range", "0,5", "paddleocr-vl").section == "data_config"
    share = read_axis("--set", "lora.dropout", "0:0.2", "paddleocr-vl")
    assert (share.low, share.high, share.is_whole) == (0.0, 0.2, False)


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("lora.rank", "8", "unknown key 'lora.rank' (known: lora.dropout, lora.enabled, lora.include_vision, lora."),
        ("lora", "{r: 8}", "unknown key 'lora' (known: lora.dropout"),
        ("loss.r", "8", "unknown key 'loss.r' (known: loss.focal_alpha"),
        ("r", "8", "lora.r, "),
        ("lora.r", "8,0", "lora.r: input should be greater than or equal to 1, not 0"),
        ("lora.r", "yes,8", "lora.r: must be a number, not true or false"),
        ("lora.r.x", "8", "unknown key 'lora.r.x'"),
        ("learning_rat", "1", "unknown key 'learning_rat'"),
        ("learning_rate", "0", "learning_rate: input should be greater than 0, not 0"),
        ("learning_rate", "1e-5,two", "learning_rate: "),
        ("learning_rate", "5e-5,0.00005", "5e-05 is given twice"),
        ("learning_rate", "", "give 1 to 100 values"),
        ("learning_rate", "1e-4:1e-5", "from a lower to a higher"),
        ("learning_rate", "0:1", "greater than 0"),
        ("batch_size", "1.5:4", "batch_size: "),
        ("lr_scheduler", "1:2", "is not a number"),
        ("lr_scheduler", "linear,cubic", "lr_scheduler: input should be 'linear'"),
        ("augment", "[", "must be values joined by commas"),
        ("seed", "1,2", "give --seeds"),
    ],
)
def test_a_wrong_axis(key: str, text: str, says: str) -> None:
    """One line names the option, the whole key, what is wrong, and the keys of its section."""
    with pytest.raises(UserError, match=r"^--set") as caught:
        read_axis("--set", key, text, "paddleocr-vl" if key.startswith(("lo", "r")) else "layoutlm")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_field_is_in_both_sections() -> None:
    """A key names one field, so it needs no section before it."""
    assert not TrainingConfig.model_fields.keys() & DataConfig.model_fields.keys()
