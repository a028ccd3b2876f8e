"""The hosts' own tests have the same outcomes with our parts in place."""

import pytest

from .compare import Choice, compare_all, merged, report
from .suites import NoSources, sources, SUITES


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_host(name):
    try:
        source = sources(name)
    except NoSources as error:
        pytest.skip(str(error))
    pairs = compare_all(name, source, [], Choice(thrifty=True))
    comparison = merged(comparison for _, comparison in pairs)
    assert comparison.num_used, "our parts took no part"
    assert not comparison.unexpected, report(comparison)
