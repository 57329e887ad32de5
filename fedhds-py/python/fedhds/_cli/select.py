"""``fedhds select``: which records of a file are worth training on, without federation."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .. import Error, __version__, _native, progress
from .._writing import replacing
from .console import Failure, add_common, note, plural, wants_bars
from .explain import as_json, as_text, explain
from .pick import METHODS, Features, Picked, from_file, from_model, from_text, needs_features, pick
from .pool import STDIN, Options, Pool, read
from .written import check_out, written

ROLES = ("instruction", "input", "response", "category")

DESCRIPTION = """\
Keep the records that stand for a file: which 1% is worth training on?

Records become features (of their texts, or hidden states of a model that is named), features become groups of alike
records, and what is kept lies near as many as possible. Near copies count as one record. The original lines of what is
kept go to --out.
"""

EPILOG = """\
methods:
  fedhds_robust    many small groups; those that cover what is not covered yet give a record each, drawn at random (default)
  fedhds_coverage  k-means, then the records that lie nearest to all others of their group; every record is represented
  fedhds_shared    t-SNE and HDBSCAN: finds the number of groups itself, and leaves out what belongs to none
  fedhds           the paper's: the same, with the groups clustered once more on the t-SNE plane
  random           blindly drawn: what a selection must be better than
  stratified       the same here; over several clients it draws evenly from each

examples:
  fedhds select data.jsonl --out kept.jsonl                       1% of the file, by its texts alone
  fedhds select data.jsonl --count 500 --model ./SmolLM2-135M     500 records, by a model that knows the language
  fedhds select a.jsonl b.jsonl --features x.npy --fraction 0.05  by features of your own, row i for record i
  fedhds select qa.jsonl --instruction question.text --response answers
  fedhds select chat.jsonl.gz --bad-record skip --out kept.jsonl  conversations; what is none is counted and left out
"""


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "select",
        help="keep the 1%% of a file that stands for it",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="JSON lines, a JSON list, CSV, Parquet, or a task folder; .gz and .zst too; - is stdin"
    )

    data = parser.add_argument_group("what is in the files")
    option = data.add_argument
    names = _listed(tuple(name for name, _ in _native.formats()))
    option("--format", type=_format, default="guess", metavar="FORM", help=f"{names} (default guess)")
    for role in ROLES:
        option(f"--{role}", metavar="FIELD", help=f"the field with the {role}; dots reach into objects")
    option(
        "--blank-response", choices=("error", "skip"), default="error", help="what to do with records without an answer"
    )
    option(
        "--bad-record",
        choices=("error", "skip"),
        default="error",
        help="what to do with records that cannot be used otherwise; skip counts them (default error)",
    )
    option("--split", metavar="NAME", help="train or test, of a format that keeps them apart (default train)")

    option = parser.add_argument_group("how many, and how").add_argument
    option("--fraction", type=_fraction, metavar="F", help="share to keep, above 0, at most 1 (default 0.01)")
    option("--count", type=_positive, metavar="N", help="number of records to keep, in place of a share")
    option(
        "--method",
        choices=METHODS,
        default=METHODS[0],
        metavar="NAME",
        help=f"{_listed(METHODS)} (default {METHODS[0]})",
    )
    option(
        "--groups",
        type=_positive,
        metavar="K",
        help="groups of fedhds_robust (default records / 6, at most 5,000) or fedhds_coverage (default sqrt(records / 2), at most N)",
    )
    option("--seed", type=_whole, default=0, metavar="S", help="same seed, same records (default 0)")

    option = parser.add_argument_group("features (random and stratified look at none)").add_argument
    option(
        "--model",
        metavar="PATH",
        help="Hugging Face folder or .gguf file; `embedded` is the small one in the package (default: no model, texts alone)",
    )
    option("--features", metavar="NPY", help="array [records, columns], in place of a model")
    option(
        "--feature-layers",
        type=_positive,
        metavar="L",
        help="equal parts of a row of --features, one a layer (default 1)",
    )
    option("--save-features", metavar="NPY", help="keep the features, for --features of a later call")
    option("--device", help="where the model runs (default cpu)")
    option(
        "--activations",
        choices=("f32", "int8"),
        help="int8: twice as fast on many processors, for GGUF files in Q8_0, Q4_0 or Q4_1 (default f32)",
    )
    option(
        "--prompt",
        choices=("short", "alpaca", "raw", "chat"),
        help="how records become text (default short)",
    )
    option(
        "--layers", type=_layers, metavar="WHICH", help="all, last, or numbers as in 6,12 (default all)"
    )
    option(
        "--pooling",
        choices=("mean", "last_token"),
        help="how tokens become one vector (default mean: topics show better)",
    )
    option(
        "--max-tokens",
        type=_positive,
        metavar="N",
        help="longer records are cut off for their features (default 1024)",
    )

    option = parser.add_argument_group("what comes out").add_argument
    option("--out", metavar="FILE", help="where the kept lines go, in their order, byte for byte; - is stdout; a table goes to a .csv, .tsv or .parquet as one")
    option(
        "--show",
        type=_whole,
        default=20,
        metavar="N",
        help="groups and records that are printed (default 20; 0 is all)",
    )
    option(
        "--explain",
        action="store_true",
        help="say of every kept record which group it is of, how large that is, and how many near copies say the same",
    )
    add_common(parser)


#: Options that are a model's, and what they are where nothing is said.
OF_MODEL: dict[str, Any] = {
    "device": "cpu",
    "activations": "f32",
    "prompt": "short",
    "layers": "all",
    "pooling": "mean",
    "max_tokens": 1024,
}


def run(arguments: argparse.Namespace) -> int:
    """Selects, writes and says why."""
    _check(arguments)
    fields = {role: getattr(arguments, role) for role in ROLES if getattr(arguments, role)}
    options = Options(arguments.format, fields, arguments.blank_response, arguments.bad_record, arguments.split)
    bars = wants_bars(arguments)
    with progress(bars):
        pool = read(arguments.files, options)
        count = _count(arguments, len(pool))
        features = _features(arguments, pool) if needs_features(arguments.method) else None
        if bars and features is not None:
            note(f"grouping {plural(len(pool), 'record')}")
        copies = None if features is None else pool.copies
        picked = pick(features, len(pool), arguments.method, count, arguments.groups, arguments.seed, copies)
    explanation = explain(pool, picked, copies)
    _write(arguments.out, pool, picked)
    facts = _facts(arguments, pool, count, features)
    if arguments.json:
        print(json.dumps(facts | as_json(explanation), ensure_ascii=False, indent=1))
        return 0
    parts = [_head(facts, picked, sum(1 for group in explanation.groups if group.group >= 0))]
    parts += [text for text in [as_text(explanation, arguments.show, arguments.explain)] if text]
    if arguments.out is None:
        parts.append("nothing is written: --out FILE keeps the lines")
    elif arguments.out != "-":
        parts.append(f"{plural(len(picked.kept), 'line')} written to {arguments.out}")
    print("\n\n".join(parts), file=sys.stderr if arguments.out == "-" else sys.stdout)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """What argparse cannot say: options that do not fit together, and places where nothing can be written."""
    fail = arguments.parser.error
    for one, other in (("fraction", "count"), ("model", "features"), ("save_features", "features")):
        if getattr(arguments, one) is not None and getattr(arguments, other) is not None:
            fail(f"argument --{one.replace('_', '-')}: not allowed with --{other}")
    if arguments.json and arguments.out == "-":
        fail("argument --json: not allowed with --out -, as both go to stdout")
    if arguments.groups and arguments.method not in METHODS[:2]:
        fail(f"argument --groups: only {_listed(METHODS[:2])} is told the number of groups")
    for name in OF_MODEL:
        if getattr(arguments, name) is not None and not arguments.model:
            fail(f"argument --{name.replace('_', '-')}: only with --model")
    if arguments.feature_layers and not arguments.features:
        fail("argument --feature-layers: only with --features")
    inputs = {Path(file).resolve() for file in arguments.files if file != STDIN}
    if arguments.files.count(STDIN) > 1:
        fail("argument FILE: - is read once")
    for target in (arguments.out, arguments.save_features):
        if target is None or target == "-":
            continue
        check_out(target)
        if Path(target).resolve() in inputs:
            raise Failure(f"{target}: expected another file than the ones that are read")
        if not Path(target).resolve().parent.is_dir():
            raise Failure(f"{target}: expected a place in a folder that is there")


def _count(arguments: argparse.Namespace, records: int) -> int:
    """Records to keep."""
    if arguments.count is None:
        return max(1, round((arguments.fraction or 0.01) * records))
    if arguments.count > records:
        raise Failure(f"--count {arguments.count}: the files hold {plural(records, 'record')}")
    return int(arguments.count)


def _features(arguments: argparse.Namespace, pool: Pool) -> Features:
    """Features of the records, and what they are."""
    if arguments.features:
        return from_file(arguments.features, arguments.feature_layers or 1, len(pool))
    if arguments.model:
        given = {name: getattr(arguments, name) for name in OF_MODEL}
        options = {name: OF_MODEL[name] if value is None else value for name, value in given.items()}
        records = [record for record, _ in pool.fetch(range(len(pool)))]
        features = from_model(records, arguments.model, **options)
    else:
        features = from_text(pool.values)
    if arguments.save_features:
        with replacing(arguments.save_features) as file:  # given a name, numpy would add .npy to it
            np.save(file, features.values)
    return features


def _write(out: str | None, pool: Pool, picked: Picked) -> None:
    """The kept lines."""
    if out is None:
        return
    lines = written(out, pool, picked.kept.tolist())
    if out == "-":
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
        return
    with replacing(out) as file:
        file.writelines(lines)


def _facts(arguments: argparse.Namespace, pool: Pool, count: int, features: Features | None) -> dict[str, Any]:
    """What was done, for machines."""
    source = None
    if features is not None:
        source = features.facts | {"layers": features.layers, "columns": features.values.shape[1]}
    return {
        "fedhds": __version__,
        "method": arguments.method,
        "seed": arguments.seed,
        "files": pool.formats,
        "records": len(pool),
        "blank": pool.blank,
        "bad": pool.bad,
        "first_bad": pool.first_bad,
        "distinct": int(pool.copies.max()) + 1,
        "wanted": count,
        "features": source,
        "out": arguments.out,
    }


def _head(facts: dict[str, Any], picked: Picked, groups: int) -> str:
    """The same for people, in a few lines."""
    kept, records, source = len(picked.kept), facts["records"], facts["features"]
    files = ", ".join(f"{file} ({form})" for file, form in facts["files"].items())
    blank = f"; {facts['blank']} without a response are left out" if facts["blank"] else ""
    short = f"; {facts['wanted']:,} were wanted, but the groups hold no more" if kept < facts["wanted"] else ""
    same = records - facts["distinct"]
    copies = f"; {same:,} are near copies of others" if same and source is not None else ""
    lines = [f"records   {records:,} of {files}{blank}{copies}"]
    if facts["bad"]:
        what = plural(facts["bad"], "record")
        lines.append(f"          {what} that cannot be used left out, the first since {facts['first_bad']}")
    lines.append(f"kept      {kept:,} ({kept / records:.2%}) by {facts['method']}, seed {facts['seed']}{short}")
    if source is None:
        return "\n".join([*lines, "features  none: this method draws blindly, as a baseline"])
    size = f"{plural(source['layers'], 'layer')}, {source['columns']:,} columns"
    if source["from"] == "text":
        lines.append(f"features  what letters the texts are made of ({source['columns']:,} columns); --model names a model")
    elif source["from"] == "embedded":
        lines.append(
            f"features  the small model in the package ({size}); it knows little English: --model names a better one"
        )
    else:
        lines.append(f"features  {source['from']} ({size})")
    if source.get("cut_off"):
        what = plural(source["cut_off"], "record")
        lines.append(f"          {what} longer than {source['max_tokens']} tokens: what is behind was not read")
    return "\n".join([*lines, f"groups    {groups}, of records that are alike"])


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"


def _format(text: str) -> str:
    try:
        _native.check_format(text)
    except Error as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1, got {text}")
    return value


def _positive(text: str) -> int:
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return value


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**64):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text}")
    return int(text)


def _layers(text: str) -> str | list[int]:
    return text if text in ("all", "last") else [_positive(part) for part in text.split(",")]
