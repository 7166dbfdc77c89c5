"""Names of forms of poems."""

import pytest

from m6.config import UserError
from m6.data.poem_forms import form_of


def test_short_names_are_those_of_forms_and_others_are_refused() -> None:
    assert form_of("五绝") == form_of("五言绝句") == "五言绝句"
    assert form_of("七律") == "七言律诗"
    assert form_of("七古") == "七言古诗"
    for name in ("五言", "五言排律", "宋词", "", "绝句"):
        with pytest.raises(UserError, match="allowed are 五言绝句, 七言绝句, 五言律诗, 七言律诗, 五言古诗, 七言古诗"):
            form_of(name)
