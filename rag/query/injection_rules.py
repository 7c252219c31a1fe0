"""What orders to a language model look like: weighted patterns, and the ways in which a sentence can be read.

The weights are set by hand: 1 for what has no other use in a bank's documents, less for what needs a second sign.
"""

# ruff: noqa: E501 - a pattern is read more easily on one line

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

CODE: Final = re.compile(r"\b(?=[A-Z0-9_-]*\d)(?=[A-Z0-9_-]*[A-Z])[A-Z0-9][A-Z0-9_-]{5,}\b")

_MODEL: Final = (
    r"\b(?:(?<!the )assistants?(?! (?:to (?:the|an?|our)\b|secretar|director|general|attorney|vice|manager|treasurer|u\.?s|comptroller))"
    r"|the assistant(?! (?:to (?:the|an?|our)\b)| \w*(?:secretar|director|general|attorney|vice|manager|treasurer))|chat ?bots?|ai (?:assistants?|models?|agents?|systems?)|language models?|llms?|chatgpt|gpt-?\d"
    r"|claude|copilot|automated readers?|(?:robots?|machines?|ais?) reading this)\b"
)
_OVERRIDE: Final = (
    r"(?:ignore|disregard|forget|override|overlook|bypass|discard|neglect|dismiss|drop|abandon|set aside|pay no attention to"
    r"|stop following|do not follow|don't follow|erase|suspend|void|skip over)"
)
_GIVEN: Final = (
    r"(?:instructions?|prompts?|directions|directives|guidelines|guardrails|restrictions|commands?|system message"
    r"|safeguards|programming|training|(?:everything|all|anything|what|whatever)(?: that)? (?:you|was|were|has|have|came|is above)"
    r"|the question|rules (?:you|above|given)|the (?:operator|system|developer|provider)'s (?:\w+ )?rules|(?:your|these|those|previous|prior|earlier|all|any) (?:\w+ )?rules)"
)
_SAY: Final = (
    r"(?:say|reply|respond|answer|output|print|write|repeat|append|include|begin|end|start|finish|conclude|sign|emit"
    r"|translate|state|add|insert|mention|return|display|quote|close|open|prefix|produce|prepend|recite|embed|render)"
)
_REPLY: Final = r"(?:answers?|repl(?:y|ies)|responses?|outputs?|final sentence|summary|completion)"
_NOT_ENGLISH: Final = r"(?! (?:an?|the|any|all|every|each|this|that|these|those|such|written|your|previous|prior)\b)"
_START: Final = r"(?:^|[.:;!,\"'(\]>-]\s*|\b(?:now|please|then|and|must|to|should|shall|kindly|will|first)\s+)"


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern over a lower-case reading, and what it adds. Of several rules of one name, the heaviest counts."""

    name: str
    weight: float
    pattern: re.Pattern[str]


def _rule(name: str, weight: float, pattern: str) -> Rule:
    return Rule(name, weight, re.compile(pattern, re.DOTALL))


RULES: Final = (
    _rule("override", 1.0, rf"{_START}{_OVERRIDE}\b.{{0,40}}\b{_GIVEN}\b"),
    _rule("override", 0.5, rf"\b{_OVERRIDE}\b.{{0,40}}\b{_GIVEN}\b"),
    _rule("override", 0.6, r"\b(?:prior|previous|earlier|former|old|all|your) (?:\w+ )?(?:instructions?|prompts?|directives|guidelines|commands|orders|rules)"
          r" (?:above )?(?:are|is|were|have|has)(?: been)?(?: now)? (?:void|expired|cancell?ed|revoked|lifted|suspended|deleted|replaced|obsolete|no longer)"),
    _rule("names a model", 0.5, _MODEL),
    _rule("order to a model", 0.7, rf"{_MODEL}.{{0,40}}\b(?:must|should|shall|always|never|please|needs? to|has to)\b(?! (?:not )?be \w+ed\b)"),
    _rule("order to a model", 0.7, rf"^\W*(?:attention|note|notice|hey|dear|to)\b.{{0,20}}{_MODEL}"),
    _rule("order to a model", 0.7, rf"^\W*(?:{_MODEL}|bot|ai|model)\s*[:,]"),
    _rule("shapes the answer", 0.6, rf"{_START}{_SAY}\b.{{0,50}}\b(?:your|every|each|all|the|any|its) (?:\w+ )?{_REPLY}\b"),
    _rule("shapes the answer", 0.6, rf"\b(?:your|every|each|all) (?:\w+ )?{_REPLY}\b.{{0,40}}\b(?:with|by|must|should)\b"),
    _rule("shapes the answer", 0.7, rf"{_START}(?:reply|respond|answer) (?:only|solely|exclusively|just|exactly)\b"),
    _rule("shapes the answer", 0.5, r"\b(?:when|before|after|while|whenever) (?:you )?(?:answer|reply|respond)(?:ing)?\b"),
    _rule("shapes the answer", 0.5, r"\bsigns? (?:its|your|all) "),
    _rule("a word to say", 0.4, rf"\b{_SAY}\b.{{0,60}}\b(?:token|marker|phrase|keyword|code ?word|passphrase|string|word)\b"),
    _rule("addresses the user", 0.5, r"\b(?:tell|inform|advise|convince|instruct|ask|urge) (?:the )?(?:users?|readers?)\b"),
    _rule("addresses the user", 0.5, r"\b(?:users?|readers?) (?:must|should|shall|needs? to|has to|have to) be (?:told|informed|advised|instructed|asked|urged)\b"),
    _rule("addresses the user", 0.3, r"\btell (?:the |every |all )?(?:customers?|clients?|borrowers?)\b"),
    _rule("role", 0.6, r"\byou are (?:now|no longer|not) (?:a|an|the|in|bound|\w*(?:bot|gpt))\b"),
    _rule("role", 0.6, r"\b(?:you are|act as|pretend|behave as|play the role|roleplay)\b.{0,30}\b\w*(?:bot|gpt|dan)\b"),
    _rule("role", 1.0, rf"{_START}pretend (?:that )?(?:you are|you're|to be)\b"),
    _rule("no limits", 0.5, r"\b(?:without|no|free of|free from) (?:any )?(?:limits|rules|restrictions|filters|limitations|censorship)\b"),
    _rule("role", 0.6, rf"{_START}(?:pretend (?:that |to |you)|act as (?:if|though|an?)\b|roleplay)"),
    _rule("role", 0.5, r"\bfrom (?:now|this point|here) on(?:wards?)?\b,? (?:you|your|every|all|always|answer)"),
    _rule("role", 1.0, r"\b(?:developer|debug|god|admin|maintenance|jailbreak|dan|unrestricted) mode\b.{0,30}\b(?:on|enabled|activ)"),
    _rule("chat template", 1.0, r"<\|\w+\|>|\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|\"role\"\s*:\s*\"(?:system|user|assistant)"),
    _rule("chat template", 1.0, r"^\W{1,3}(?:system|admin|developer)[ _-]*(?:notice|message|prompt|override|instruction)?\W{1,3}\s"),
    _rule("chat template", 1.0, r"#{2,}\s*(?:new )?(?:system|instruction|response|assistant)s?\b|</?system(?:-\w+)?>"),
    _rule("chat template", 0.5, r"(?:^|\n)\s*(?:system|assistant|user|human|ai)\s*:"),
    _rule("asks for the prompt", 1.0, r"\b(?:print|reveal|show|repeat|output|display|disclose|leak|dump|tell|share|what)\b.{0,40}"
          r"\b(?:system prompt|hidden (?:prompt|instructions)|your (?:\w+ )?(?:instructions|prompt|configuration))\b"),
    _rule("asks for the prompt", 0.7, r"\bsystem prompt\b"),
    _rule("hidden", 0.6, r"<!--|display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|color\s*:\s*(?:white|#fff)"),
    _rule("sends data away", 1.0, r"!\[[^\]]*\]\s*\(\s*(?:https?:|//|data:)|<\s*img\b|\bjavascript:|\bdata:text/html"),
    _rule("sends data away", 0.7, r"https?://\S+[?&]\w+=\S*(?:user|question|\{|<|chat|history|prompt)"),
    _rule("decode and obey", 1.0, r"\b(?:decode|decrypt|unscramble|base64|rot13)\b.{0,60}\b(?:obey|follow|execute|carry out|comply|do what)\b"),
    _rule("steers the sources", 1.0, r"\b(?:cite|quote|use|treat|trust) (?:only )?this (?:passage|document|section|text|page)\b.{0,30}"
          r"\b(?:only|sole|authorit|above|highest)"),
    _rule("steers the sources", 0.6, r"\b(?:refuse|decline) to (?:answer|reply|respond)\b|\bdo not (?:answer|cite|mention) "),
    _rule("asks for secrets", 0.4, r"\b(?:pin|passwords?|card numbers?|cvv|one-time code)\b"),
    _rule("lists the index", 0.7, r"\blist (?:every|all)(?: the)? (?:documents?|files?)\b.{0,30}\b(?:index|path|database|access)"),
    _rule("writes something else", 0.5, r"\bwrite (?:a|me a|an) (?:poem|song|story|haiku|joke|limerick|python)\b"),
    _rule("a code to say", 1.0, rf"(?:{_START}|\b(?:only|just|simply|always) )(?:say|reply|respond|answer|output|emit|utter|recite|greet)\b.{{0,25}}\bcode-like\b"),
    _rule("a code to say", 0.5, rf"\b(?:{_SAY}|tell|inform|advise|type|give|approve|greet|utter|under|reference|code|named?|heading|describe|about)\b.{{0,60}}\bcode-like\b"),
    _rule("urgent news", 0.3, r"^\W*(?:important|urgent|critical|new) (?:update|policy|notice|instruction)"),
    _rule("other language", 1.0, rf"\b(?:ignore[zr]?{_NOT_ENGLISH}|oubliez?|ne tiens pas compte)\b.{{0,40}}\b(?:instructions|consignes|regles)\b"),
    _rule("other language", 1.0, r"\b(?:reponds|repondez|termine[z]? (?:par|ta)|ecris|affiche)\b.{0,50}\b(?:uniquement|mot|reponse|seulement|toujours)\b"),
    _rule("other language", 1.0, r"\b(?:ignorier\w*|vergiss|missachte\w*|beachte nicht)\b.{0,50}\b(?:anweisung|befehl|regel|vorgabe|bisher)\w*"),
    _rule("other language", 1.0, r"\b(?:antworte|antworten sie|schreibe?|beende|beginne|gib)\b.{0,50}\b(?:nur|wort|antwort|ausschliesslich|immer)\b"),
    _rule("other language", 1.0, rf"\b(?:ignor[ae]n?{_NOT_ENGLISH}|olvid[ae]n?|dimentica|esquec[ea]|negeer|vergeet|zapomnij|ignoruj)\b.{{0,50}}"
          r"\b(?:instruc|istruz|reglas|regole|regras|instrues|anterior|precedent|instructies|opdracht|regels|polecen|instrukcj)\w*"),
    _rule("other language", 1.0, r"\b(?:responde|responda|contesta|rispondi|termina|scrivi|escribe|antwoord|odpowied\w*)\b.{0,50}"
          r"\b(?:solo|solamente|unicamente|soltanto|sempre|apenas|somente|palabra|parola|palavra|alleen|woord|respuesta|risposta|tylko)\b"),
    _rule("other language", 1.0, r"(?:игнорируй|забудь|не обращай внимания|отвечай|ответь|напиши)\w*\b.{0,60}(?:инструкц|указани|правил|только|слов|ответ)"),
    _rule("other language", 1.0, r"(?:忽略|无视|忘记|無視|请在回答|只回答|只用|回答时|すべての指示|指示を無視|回答の最後|必ず含め)"),
    _rule("other language", 1.0, r"(?:تجاهل|انس|أجب فقط|اكتب في إجابتك|अनदेखा|नज़रअंदाज़|केवल .{0,20}उत्तर|önceki talimat|yoksay|무시하|대답해)"),
)  # fmt: skip

# A sentence without any of these matches no rules that add up to 1; looking for them first is what makes it fast.
_HINT_WORDS: Final = """
    ignor disregard forget overrid overlook bypass discard neglect dismiss drop abandon aside attention following follow erase suspend
    void assistant bot llm gpt claude copilot automated answer reply replies respon output final summary completion user void expired revoked emit utter type greet
    reader longer pretend roleplay role" mode <| inst] sys>> _of_turn system admin developer prompt instruct ## <!--
    display: visib font color ![ <img javascript data: http base64 decode decrypt unscrambl rot13 cite quote trust obey
    poem token marker phrase keyword word string code-like beacht vergiss missacht beende beginne gib schreib antwor
    oubli tiens termin ecri affich olvid dimentic esque neger negeer vergeet zapomn contest rispond scriv escrib odpowied
    onceki yoksay
"""
_HINTS: Final = tuple(_HINT_WORDS.split())

_LOOKALIKES: Final = str.maketrans(
    "аеорсухіѕјкмтвнԁɡӏοαερντικυχ" + "АЕОРСУХІЅЈКМТВН", "aeopcyxisjkmtbhdgloaepvtikux" + "aeopcyxisjkmtbh"
)
_LEET: Final = str.maketrans("013457@$", "oieastas")
_MIXED: Final = re.compile(r"\b(?=\w*[a-z])[a-z0-9@$]{4,}\b")
_SPACED: Final = re.compile(r"\b(?:[a-z][ ._-]){3,}[a-z]\b")
_BLOB: Final = re.compile(r"\b(?:[A-Za-z0-9+/]{16,}={0,2})|\b(?:[0-9a-fA-F]{2}[ ]?){12,}\b")
_TAGS: Final = 0xE0000  # Unicode's tag characters: invisible doubles of ASCII


def readings(sentence: str) -> tuple[str, ...]:
    """The ways to read a sentence: as it stands, with look-alikes and tricks undone, and what is encoded in it."""
    shown = unicodedata.normalize("NFKC", "".join(map(_visible, CODE.sub("code-like", sentence))))
    plain = re.sub(r"\s+", " ", shown.lower().replace("’", "'").replace("ß", "ss"))
    folded = (
        plain
        if plain.isascii()
        else "".join(
            each
            for each in unicodedata.normalize("NFKD", plain.translate(_LOOKALIKES))
            if not unicodedata.combining(each)
        )
    )
    undone = _MIXED.sub(lambda match: match.group().translate(_LEET), folded)
    joined = _SPACED.sub(lambda match: re.sub(r"[ ._-]", "", match.group()), undone.replace("   ", " "))
    hidden = [each for match in _BLOB.finditer(shown) if (each := _decoded(match.group()))]
    found = (plain, folded, undone, joined, *(f"{folded} {each.lower()}" for each in hidden))
    return tuple(dict.fromkeys(each for each in found if not each.isascii() or any(map(each.__contains__, _HINTS))))


def _visible(character: str) -> str:
    code = ord(character)
    if _TAGS + 0x20 <= code < _TAGS + 0x7F:
        return chr(code - _TAGS)
    return "" if unicodedata.category(character) in ("Cf", "Co", "Cn") else character


def _decoded(blob: str) -> str:
    """The text in base64 or hexadecimal digits, or '' when it is no text."""
    digits = blob.replace(" ", "")
    try:
        if re.fullmatch(r"[0-9a-fA-F]+", digits) and len(digits) % 2 == 0:
            raw = bytes.fromhex(digits)
        else:
            raw = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
        text = raw.decode("ascii")
    except (binascii.Error, ValueError):
        return ""
    return text if text.isprintable() and " " in text else ""
