from __future__ import annotations

import pytest

from receipt_trainer.config import DataConfig, TrainingConfig
from receipt_trainer.errors import UserError
from receipt_trainer.sweep.axes import read_axis


def test_values_are_those_of_the_configuration() -> None:
    """What YAML reads as a text is the field's number in the end, and lists stay lists."""
    assert read_axis("--learning-rates", "learning_rate", "5e-5, 3e-05", "tiny").choices == (5e-5, 3e-5)
    assert read_axis("--set", "allowed_labels", "[TOTAL, DATE],[]", "tiny").choices == (["TOTAL", "DATE"], [])
    assert read_axis("--set", "augment", "true,no", "tiny").choices == (True, False)
    assert read_axis("--set", "dropout", "0.1,null", "tiny").choices == (0.1, None)
    assert read_axis("--set", "max_samples", "10,20", "tiny").section == "data_config"


def test_ranges() -> None:
    """LOW:HIGH is a range: by its logarithm for learning rates, of whole numbers where the field is one."""
    rate = read_axis("--learning-rates", "learning_rate", "1e-5:1e-4", "tiny")
    assert (rate.low, rate.high, rate.is_log, rate.is_whole) == (1e-5, 1e-4, True, False)
    size = read_axis("--batch-sizes", "batch_size", "4:64", "tiny")
    assert (size.low, size.high, size.is_log, size.is_whole) == (4.0, 64.0, False, True)


def test_fields_of_the_other_family() -> None:
    """A job of the second model family varies its own fields, by their short names too."""
    axis = read_axis("--batch-sizes", "batch_size", "4,8", "PaddlePaddle/PaddleOCR-VL")
    assert axis.key == "per_device_train_batch_size"


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("learning_rat", "1", "unknown key 'learning_rat'"),
        ("learning_rate", "0", "learning_rate: input should be greater than 0, not 0"),
        ("learning_rate", "1e-5,two", "learning_rate: "),
        ("learning_rate", "5e-5,0.00005", "5e-05 is given twice"),
        ("learning_rate", "", "give 1 to 100 values"),
        ("learning_rate", "1e-4:1e-5", "from a lower to a higher"),
        ("learning_rate", "0:1", "greater than 0"),
        ("batch_size", "1.5:4", "batch_size: "),
        ("lr_scheduler", "1:2", "is no number"),
        ("lr_scheduler", "linear,cubic", "lr_scheduler: input should be 'linear'"),
        ("augment", "[", "must be values joined by commas"),
        ("seed", "1,2", "give --seeds"),
    ],
)
def test_a_wrong_axis(key: str, text: str, says: str) -> None:
    """One line names the option, the key and what is wrong."""
    with pytest.raises(UserError, match=r"^--set") as caught:
        read_axis("--set", key, text, "tiny")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_field_is_in_both_sections() -> None:
    """A key names one field, so it needs no section before it."""
    assert not TrainingConfig.model_fields.keys() & DataConfig.model_fields.keys()
