import pytest
from cryptography.fernet import Fernet

from notifier.errors import CannotUnseal
from notifier.seal import Seal

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_a_sealed_secret_opens_again_and_does_not_show() -> None:
    sealed = Seal(OLD).close("whsec_abc")
    assert b"abc" not in sealed
    assert Seal(OLD).open(sealed) == "whsec_abc"


def test_a_new_key_in_front_still_opens_what_the_old_one_sealed() -> None:
    assert Seal(f"{NEW}, {OLD}").open(Seal(OLD).close("whsec_abc")) == "whsec_abc"


def test_without_its_key_it_stays_shut() -> None:
    with pytest.raises(CannotUnseal):
        Seal(NEW).open(Seal(OLD).close("whsec_abc"))
