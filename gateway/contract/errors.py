"""What can be wrong with something that crosses the wire or comes from a deployment's files."""


class ContractError(ValueError):
    """Base of everything that does not fit the published contract."""


class MessageError(ContractError):
    """A whole message that cannot be taken: it goes to quarantine with this reason.

    Parameters
    ----------
    code : str
        Short stable name of the reason, for counting: ``"malformed_json"``, ``"foreign_pool"`` …
    text : str
        What is wrong, where, and what to do, in one sentence.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class RegistryError(ContractError):
    """A `pools.toml` that cannot be used; `mistakes` lists every one, each with its line."""

    def __init__(self, mistakes: "list[RegistryMistake]") -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


class RegistryMistake:
    """One mistake of a registry file: the line, the place in words, what is wrong and what to do."""

    def __init__(self, *, line: int | None, place: str, text: str) -> None:
        self.line = line
        self.place = place
        self.text = text

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line is not None else "file"
        return f"{where}: {self.place}: {self.text}"
