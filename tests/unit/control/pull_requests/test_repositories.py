"""Which application a repository's changes are previews of, by its name and after that has changed."""

from __future__ import annotations

from dataclasses import replace

from stager.control.pull_requests.repositories import application_of, remember, remember_adopted, why_not
from stager.domain.application import Application, Applications
from stager.domain.source import Repository
from stager.testing import MemoryStore
from tests.unit.control.harness import SHOP

OURS = replace(SHOP, owner="acme")
REPOSITORY = Repository("fake:101", "acme", "shop")
RENAMED = replace(REPOSITORY, owner="acme-corp", name="store")
NAMESAKE = replace(REPOSITORY, id="fake:202")


async def app_of(
    repository: Repository, *applications: Application, seen: Repository = REPOSITORY, called: str = ""
) -> str | None:
    """Who has `repository`, once `seen` was seen while only our own application was configured.

    Args:
        called: by the name that the configuration has, where `seen` has another.
    """
    store = MemoryStore()
    alias = replace(seen, owner="acme", name=called) if called else None
    await store.write(lambda tx: remember(tx, OURS, seen, alias))
    configured = Applications({a.name: a for a in applications or (OURS,)})
    found = await store.read(lambda tx: application_of(tx, configured, repository))
    return found.name if found else None


class TestWithoutAnOwner:
    """An entry that names no owner is bound to the first repository of its name."""

    ANYBODYS = replace(SHOP, owner="")
    ALL = Applications({"shop": ANYBODYS})

    async def of(self, store: MemoryStore, repository: Repository) -> Application | None:
        return await store.read(lambda tx: application_of(tx, self.ALL, repository))

    async def test_the_first_has_it_and_no_other(self) -> None:
        store = MemoryStore()
        assert await self.of(store, REPOSITORY) == await self.of(store, NAMESAKE) == self.ANYBODYS
        await store.write(lambda tx: remember(tx, self.ANYBODYS, REPOSITORY))

        assert await self.of(store, REPOSITORY) == self.ANYBODYS
        assert await self.of(store, RENAMED) == self.ANYBODYS
        assert await self.of(store, NAMESAKE) is None
        why = await store.read(lambda tx: why_not(tx, self.ALL, NAMESAKE))
        assert why.startswith("refused: images.shop is bound to acme/shop with the repository id fake:101")

    async def test_a_preview_that_was_adopted_counts(self) -> None:
        store = MemoryStore()
        await store.write(lambda tx: remember_adopted(tx, "shop", REPOSITORY))
        assert await self.of(store, NAMESAKE) is None

    async def test_an_owner_in_the_configuration_counts_for_more_and_binds_again(self) -> None:
        store = MemoryStore()
        theirs = replace(NAMESAKE, owner="mallory")
        await store.write(lambda tx: remember(tx, self.ANYBODYS, theirs))
        assert await self.of(store, REPOSITORY) is None
        owned = Applications({"shop": OURS})
        assert await store.read(lambda tx: application_of(tx, owned, REPOSITORY)) == OURS
        await store.write(lambda tx: remember(tx, OURS, REPOSITORY))

        assert await self.of(store, REPOSITORY) == self.ANYBODYS, "also when the owner is taken out again"
        assert await self.of(store, theirs) is None

    async def test_a_repository_on_this_machine_is_never_in_the_way(self) -> None:
        store, local = MemoryStore(), Repository("local:shop", "local", "shop")
        await store.write(lambda tx: remember(tx, self.ANYBODYS, local))
        assert await self.of(store, local) == self.ANYBODYS
        await store.write(lambda tx: remember(tx, self.ANYBODYS, REPOSITORY))

        assert await self.of(store, local) == await self.of(store, REPOSITORY) == self.ANYBODYS
        assert await self.of(store, NAMESAKE) is None


class TestAfterARename:
    async def test_it_is_the_same(self) -> None:
        assert await app_of(RENAMED) == "shop"

    async def test_an_unknown_one_is_refused(self) -> None:
        assert await app_of(replace(RENAMED, id="fake:303")) is None

    async def test_even_if_another_entry_has_its_new_name(self) -> None:
        other = replace(SHOP, name="store")
        assert await app_of(RENAMED, OURS, other) == "shop"
        assert await app_of(replace(RENAMED, id="fake:303"), OURS, other) == "store"

    async def test_another_repository_with_its_old_name_is_accepted_too(self) -> None:
        assert await app_of(NAMESAKE) == "shop"

    async def test_not_if_the_configuration_has_another_owner_now(self) -> None:
        assert await app_of(RENAMED, replace(OURS, owner="somebody")) is None
        assert await app_of(REPOSITORY, replace(OURS, owner="somebody")) is None

    async def test_not_when_the_entry_is_gone(self) -> None:
        assert await app_of(RENAMED, replace(SHOP, name="blog")) is None

    async def test_also_when_it_was_requested_by_its_old_name(self) -> None:
        assert await app_of(RENAMED, seen=RENAMED, called="shop") == "shop"

    async def test_also_when_a_preview_of_it_was_adopted(self) -> None:
        store = MemoryStore()
        await store.write(lambda tx: remember_adopted(tx, "shop", REPOSITORY))
        found = await store.read(lambda tx: application_of(tx, Applications({"shop": OURS}), RENAMED))
        assert found == OURS

    async def test_a_name_that_fits_nothing_is_rejected(self) -> None:
        assert await app_of(RENAMED, seen=RENAMED) is None


class TestOfAnotherName:
    """An application that names its repository apart from itself."""

    WEB = replace(OURS, name="web", repository="shop")

    async def test_has_that_one(self) -> None:
        assert await app_of(REPOSITORY, self.WEB) == "web"
        assert await app_of(replace(REPOSITORY, name="SHOP"), self.WEB) == "web"

    async def test_hasnt_the_one_that_is_called_like_itself(self) -> None:
        assert await app_of(replace(REPOSITORY, name="web"), self.WEB) is None
