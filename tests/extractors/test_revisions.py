"""What `name@revision` is taken for; tests/hub reads revisions."""

import pytest

from extractors.errors import ExtractionError
from extractors.models import vision
from extractors.models.environment import with_revision
from extractors.pipeline.run import check_folder, modality_of


def test_what_a_revision_is(tmp_path):
    assert with_revision("a/b@refs/pr/1") == ("a/b", "refs/pr/1") and with_revision("a/b") == ("a/b", None)
    (tmp_path / "run@3").mkdir()
    for name in (str(tmp_path / "run@3"), "hf_hub:timm/resnet18.a1_in1k@main"):  # a folder; timm reads its own
        assert with_revision(name) == (name, None)
    check_folder("a/b@refs/pr/1")
    assert modality_of("resnet18@main") == "vision"
    for name, message in (
        ("a/b@", "no model at a revision"),
        ("@a", "no model at a revision"),
        ("resnet18@main", "hf_hub:owner/name@revision"),
    ):
        with pytest.raises(ExtractionError, match=message):
            vision.load(name, random_init=0)
