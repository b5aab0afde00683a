"""The label space: normalise, merge, whitelist; what sources leave open; what never trains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract.names import AMOUNT, CORE_LABELS, VALIDATION_STATUSES
from receipt_trainer.data.encode import IGNORED, words_of
from receipt_trainer.data.labels import AMOUNT_LABELS, PUBLIC_SOURCES, LabelSpace, label_space, normalise
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.errors import UserError

BOX = (0.1, 0.1, 0.2, 0.2)
ENTITIES = {
    "BUSINESS_NAME": "MERCHANT_NAME",
    "PHONE": "PHONE_NUMBER",
    "ITEM_TOTAL": "LINE_TOTAL",
    "ITEM_NAME": "PRODUCT_NAME",
    "ITEM_PRICE": "UNIT_PRICE",
    "TOTAL": "GRAND_TOTAL",
}
NO_ENTITIES = ("NONE", "NO_LABEL", "OTHER", "AUTH_CODE", "CHANGE", "O", "", " ")
stored_names = st.sampled_from([*CORE_LABELS, *ENTITIES, *NO_ENTITIES, AMOUNT, "TIP"])


def space(*present: str, **config: object) -> LabelSpace:
    return label_space(DataConfig.model_validate(config), present)


@pytest.mark.parametrize(("stored", "core"), ENTITIES.items())
def test_synonyms_become_core_labels(stored: str, core: str) -> None:
    """Each documented synonym is its core label, in any case, with blanks around it and inside, or hyphens."""
    for written in (
        stored,
        stored.lower(),
        f" {stored.title()} ",
        core.replace("_", "-"),
        core.lower().replace("_", " "),
    ):
        assert normalise(written) == core
        assert space().map(written) == core


@pytest.mark.parametrize("stored", NO_ENTITIES)
def test_what_is_no_entity_is_outside(stored: str) -> None:
    """Stored labels that name no entity are `O`."""
    assert normalise(stored) == "O"
    assert space(*CORE_LABELS).map(stored) == "O"


def test_core_labels_are_themselves() -> None:
    """A core label is its own name, and no synonym leads to another synonym."""
    assert [normalise(name) for name in CORE_LABELS] == list(CORE_LABELS)
    assert set(ENTITIES.values()) <= set(CORE_LABELS)


@pytest.mark.parametrize("stored", ["ITEM_TOTAL", "LINE_TOTAL", "SUBTOTAL", "TAX", "TOTAL", "grand_total"])
def test_normalise_then_merge_then_whitelist(stored: str) -> None:
    """A synonym of an amount is normalised first, then merged, and only then looked up in the whitelist."""
    amounts = space(merge_amounts=True, allowed_labels=[AMOUNT])
    assert amounts.labels == (AMOUNT,)
    assert amounts.map(stored) == AMOUNT
    assert amounts.map("DATE") == "O"
    assert space(merge_amounts=True, allowed_labels=["DATE"]).map(stored) == "O"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"allowed_labels": [AMOUNT]}, "'AMOUNT' cannot occur without --merge-amounts; possible: MERCHANT_NAME, "),
        ({"allowed_labels": ["TAX"], "merge_amounts": True}, "'TAX' cannot occur with --merge-amounts (it is AMOUNT)"),
        ({"allowed_labels": ["TOTAL"]}, "'TOTAL' cannot occur (it is normalised to GRAND_TOTAL)"),
        ({"allowed_labels": ["date"]}, "'date' cannot occur (it is normalised to DATE)"),
        ({"allowed_labels": ["DATE", "TIP"]}, "'TIP' cannot occur; possible: "),
        ({"allowed_labels": ["O"]}, "'O' cannot occur"),
    ],
)
def test_a_label_that_cannot_occur_is_refused_with_the_reason(config: dict[str, object], reason: str) -> None:
    """Asking for a label that cannot occur is an error that says why, and what can."""
    with pytest.raises(UserError) as caught:
        space(*CORE_LABELS, **config)
    assert reason in str(caught.value)


def test_labels_beyond_the_core_are_learned() -> None:
    """A label of the user's own is learned, after the core ones that occur, and may be whitelisted."""
    assert space("TIP", "BARCODE", "DATE").labels == ("DATE", "BARCODE", "TIP")
    assert space("tip", "DATE", allowed_labels=["TIP"]).labels == ("TIP",)
    assert space("NONE", "CHANGE", "DATE").labels == ("DATE",)


def test_only_what_occurs_is_learned() -> None:
    """Core labels that no receipt bears are left out; where nothing is known, all twelve are learned."""
    assert space("TIME", "PHONE").labels == ("PHONE_NUMBER", "TIME")
    assert space().labels == CORE_LABELS
    assert len(space(merge_amounts=True).labels) == 9


def test_nothing_but_outside_is_refused() -> None:
    """Receipts whose labels are all no entities leave nothing to learn... unless nothing is known of them."""
    assert space("NONE", "OTHER").labels == CORE_LABELS


def test_tags_are_in_a_fixed_order() -> None:
    """`O` is id 0, then B- and I- of each label in the order of a receipt, whatever order the config lists."""
    wanted = ("O", "B-DATE", "I-DATE", "B-TAX", "I-TAX")
    assert space(allowed_labels=["TAX", "DATE"]).tags == wanted
    assert space(allowed_labels=["DATE", "TAX", "DATE"]).tags == wanted


def test_unannotated_labels_of_sources() -> None:
    """An `O` word of a public source may bear what the source does not annotate; of a source of one's own nothing."""
    whole = space(*CORE_LABELS)
    assert whole.unannotated("sroie") == set(CORE_LABELS) - PUBLIC_SOURCES["sroie"]
    assert whole.unannotated("wildreceipt") == {"UNIT_PRICE"}
    assert whole.unannotated("cord") == {"MERCHANT_NAME", "PHONE_NUMBER", "ADDRESS_LINE", "DATE", "TIME"}
    assert whole.unannotated("funsd") == set(CORE_LABELS)
    assert whole.unannotated("") == whole.unannotated("mine") == frozenset()


def test_a_partly_annotated_amount_is_unannotated() -> None:
    """SROIE annotates GRAND_TOTAL only, so an `O` word of it may be an AMOUNT; one of WildReceipt and CORD may not."""
    merged = space(*CORE_LABELS, merge_amounts=True, allowed_labels=[AMOUNT, "DATE"])
    assert merged.unannotated("sroie") == {AMOUNT}
    assert merged.unannotated("wildreceipt") == frozenset()
    assert merged.unannotated("cord") == {"DATE"}
    assert merged.unannotated("funsd") == {AMOUNT, "DATE"}


def test_annotated_labels_of_ones_own() -> None:
    """`annotated_labels` adds sources and overrides known ones; its names are normalised; AMOUNT means all four."""
    config = {"merge_amounts": True, "annotated_labels": {"mine": ["amount", "phone"], "sroie": ["DATE"]}}
    found = space(*CORE_LABELS, **config)
    assert found.unannotated("mine") == set(found.labels) - {AMOUNT, "PHONE_NUMBER"}
    assert found.unannotated("sroie") == set(found.labels) - {"DATE"}
    assert found.unannotated("wildreceipt") == {"UNIT_PRICE"}


@pytest.mark.parametrize("merge", [True, False])
def test_an_annotated_label_that_cannot_occur_is_refused(merge: bool) -> None:
    """A misspelt label would leave a source open for it; AMOUNT and its origins, core and stored labels can occur."""
    with pytest.raises(UserError) as caught:
        space("DATE", "TIP", merge_amounts=merge, annotated_labels={"mine": ["DATE", "GRAND_TOTL"]})
    assert "annotated label 'GRAND_TOTL' of source 'mine' cannot occur; possible: MERCHANT_NAME, " in str(caught.value)
    assert str(caught.value).endswith("GRAND_TOTAL, AMOUNT, TIP")
    sound = [*CORE_LABELS, *ENTITIES, *NO_ENTITIES, AMOUNT, "tip"]
    found = space("DATE", "TIP", merge_amounts=merge, annotated_labels={"mine": sound})
    assert found.unannotated("mine") == frozenset()


def test_sources_are_known_in_any_case() -> None:
    """SROIE is sroie, among the public sources and among one's own, in the configuration and on the receipts."""
    found = space(*CORE_LABELS, annotated_labels={"Mine": ["DATE"], "FUNSD": ["TIME"]})
    assert found.unannotated("SROIE") == found.unannotated("sroie") != frozenset()
    assert found.unannotated("mine") == found.unannotated("MINE") == set(CORE_LABELS) - {"DATE"}
    assert found.unannotated("funsd") == set(CORE_LABELS) - {"TIME"}
    assert LabelSpace(("DATE", "TIME"), annotated={"Mine": frozenset({"DATE"})}).unannotated("mine") == {"TIME"}


def test_a_stored_amount_is_a_label_of_its_own_without_merging() -> None:
    """Receipts that bear AMOUNT already: without merging no source annotates it unless it says so."""
    found = space("AMOUNT", "GRAND_TOTAL", "TAX", "LINE_TOTAL", "SUBTOTAL")
    assert AMOUNT in found.labels
    assert AMOUNT in found.unannotated("cord")
    assert "TAX" not in found.unannotated("cord")


@pytest.mark.parametrize("status", VALIDATION_STATUSES)
def test_only_valid_labels_train(status: str) -> None:
    """A label that is INVALID or NONE counts as no label at all; one that waits for a judgement leaves its word out."""
    words = (Word("a", BOX, 0, (WordLabel("DATE", status),)), Word("b", BOX, 0, (WordLabel("TIME"),)))
    gold = words_of([Receipt("i", 1, words)], space("DATE", "TIME")).gold
    assert gold.tolist() == [{"VALID": 1, "INVALID": 0, "NONE": 0}.get(status, IGNORED), 2]


def test_a_valid_label_counts_beside_others() -> None:
    """A word may have an INVALID label and a VALID one; the VALID one trains."""
    labels = (WordLabel("DATE", "INVALID"), WordLabel("TIME", "VALID"), WordLabel("TAX", "PENDING"))
    gold = words_of([Receipt("i", 1, (Word("a", BOX, 0, labels),))], space("DATE", "TIME", "TAX")).gold
    assert gold.tolist() == [2]


@given(
    present=st.lists(stored_names | st.text(max_size=6), max_size=8),
    merge=st.booleans(),
    stored=stored_names | st.text(max_size=6),
    source=st.sampled_from(["", "sroie", "wildreceipt", "cord", "funsd"]),
)
def test_any_label_maps_into_the_space(present: list[str], merge: bool, stored: str, source: str) -> None:
    """Whatever is stored becomes `O` or a label of the space; mapping again changes nothing; amounts merge fully."""
    found = space(*present, merge_amounts=merge)
    mapped = found.map(stored)
    assert mapped == "O" or mapped in found.labels
    assert found.map(mapped) == mapped
    assert len(set(found.labels)) == len(found.labels)
    assert "O" not in found.labels
    assert not (merge and set(found.labels) & AMOUNT_LABELS)
    assert found.unannotated(source) <= set(found.labels)
    assert {found.map(name) for name in present} <= {"O", *found.labels}
