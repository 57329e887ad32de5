#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

fn refused(source: &str) -> String {
    Program::new(source.into()).unwrap_err()
}

fn rendered(source: &str) -> std::result::Result<String, String> {
    Program::new(source.into())?.render(Vec::new(), 1, 0)
}

fn fails(source: &str) -> String {
    rendered(source).expect_err(source)
}

/// Sources that nest without end, each in its own way; `n` is how often.
fn nested(kind: usize, n: usize) -> String {
    let around = |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
    match kind % 14 {
        0 => format!("{{{{ {}1 }}}}", "-".repeat(n)),
        1 => format!("{{{{ {}true }}}}", "not ".repeat(n)),
        2 => format!("{{{{ {} }}}}", around("(", "1", ")")),
        3 => format!("{{{{ {} }}}}", around("[", "1", "]")),
        4 => format!("{{{{ {} }}}}", around("{1: ", "1", "}")),
        5 => format!("{{{{ 1{} }}}}", " + 1".repeat(n)),
        6 => format!("{{{{ x{} }}}}", ".x".repeat(n)),
        7 => format!("{{{{ x{} }}}}", "|upper".repeat(n)),
        8 => around("{% if true %}", "", "{% endif %}"),
        9 => around("{% for i in [1] %}", "", "{% endfor %}"),
        10 => format!("{{% if false %}}{}{{% endif %}}", "{% elif false %}".repeat(n)),
        11 => format!("{{{{ {}1 }}}}", "1 if true else ".repeat(n)),
        12 => format!("{{{{ x{} }}}}", "[0]".repeat(n)),
        _ => format!("{{{{ 1{} }}}}", " is defined".repeat(n)),
    }
}

#[test]
fn sixteen_thousand_minus_signs_are_refused() {
    assert!(refused(&nested(0, 16_000)).contains("tokens"));
    assert!(refused(&" ".repeat(LONGEST_SOURCE + 1)).contains("bytes"));
}

#[test]
fn loops_within_loops_end() {
    let loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}";
    assert!(fails(loops).contains("steps"));
    let macros = "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}";
    assert!(!fails(macros).is_empty());
    assert!(fails("{% for i in [1] recursive %}{{ loop([1]) }}{{ loop([1]) }}{% endfor %}").len() < 1_000);
}

/// What doubles a value each time that it is run.
const DOUBLES: [&str; 9] =
    ["x + x", "x ~ x", "x * 2", "[x, x]", "{'a': x, 'b': x}", "(x, x)", "[x, [x]]", "dict(a=x, b=x)", "x | string ~ x"];
/// What reads all of a value.
const READS: [&str; 11] = [
    "{{ ns.x }}",
    "{{ ns.x | tojson }}",
    "{{ ns.x ~ '' }}",
    "{{ ns.x == ns.y }}",
    "{{ ns.x | string | length }}",
    "{{ ns.x | pprint }}",
    "{{ [ns.x].count(ns.y) }}",
    "{{ ns.x in [ns.y] }}",
    "{{ [ns.x, ns.y] | unique | list }}",
    "{{ ns.x < ns.y }}",
    "{{ '{}'.format(ns.x) }}",
];

#[test]
fn no_value_doubles_until_memory_ends() {
    for (number, double) in DOUBLES.iter().enumerate() {
        // A text and a list in turn.
        for (turn, read) in READS.iter().enumerate() {
            let start = ["'ab'", "['ab']"][(number + turn) % 2];
            let double_y = double.replace('x', "ns.y");
            let double_x = double.replace('x', "ns.x");
            let source = format!(
                "{{% set ns = namespace(x={start}, y={start}) %}}{{% for i in range(200) %}}{{% set ns.x = {double_x} %}}{{% set ns.y = {double_y} %}}{{% endfor %}}{read}"
            );
            if let Ok(text) = rendered(&source) {
                assert!(text.len() < 1_000, "{source}: {} bytes", text.len());
            }
        }
    }
}

#[test]
fn a_namespace_within_itself_is_refused_where_it_is_read() {
    for read in READS {
        let source = format!("{{% set ns = namespace() %}}{{% set ns.x = ns %}}{{% set ns.y = [ns] %}}{read}");
        if let Ok(text) = rendered(&source) {
            assert!(text.len() < 1_000, "{source}: {text}");
        }
    }
    assert!(fails("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}").contains("expected"));
}

#[test]
fn widths_and_counts_are_bounded() {
    for source in [
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:>{}}'.format(1, 1000000000) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ 'a' * 10000000000 }}",
        "{{ [1] * 10000000000 }}",
        "{{ 'a' | indent(10000000000) }}",
        "{{ [1] | tojson(indent=10000000000) }}",
        "{{ [1] | batch(10000000000, 0) | list }}",
        "{{ [1] | slice(10000000000, 0) | list }}",
        "{{ range(10000000000) | list }}",
        "{{ 2 ** 99999999999 }}",
        "{{ ('a' * 100000).replace('', 'b' * 100000) }}",
        "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
        "{{ (('a ' * 100000).split()) | join('b' * 100000) }}",
        "{{ ('b' * 100000).join('a' * 100000) }}",
        "{{ strftime_now('%d' * 1000000) }}",
    ] {
        assert!(fails(source).len() < 1_000, "{source}");
    }
    let raised = fails("{{ raise_exception('a' * 1000000) }}");
    assert!(raised.len() < 1_000);
    assert!(refused("{{ a < b < c }}").contains("chain of comparisons"));
    assert!(refused("{{ 1 | nothing }}").contains("nothing") && refused("{{ 1 is nothing }}").contains("nothing"));
}

#[test]
fn honest_templates_are_far_from_the_bounds() {
    // A hundred turns, each read a few times.
    let source = "{% set ns = namespace(all=[]) %}{% for m in messages %}{% set ns.all = ns.all + [m] %}{% endfor %}{% for m in ns.all %}{{ m.role ~ m.content.strip() ~ (m | tojson) }}{% endfor %}";
    let turn = |i: usize| {
        Value::from_pairs([("role", Value::from("user")), ("content", Value::from(format!("{i} ").repeat(200)))])
    };
    let turns: Vec<Value> = (0..100).map(turn).collect();
    let program = Program::new(source.into()).unwrap();
    let text = program.render(vec![("messages".into(), Value::from(turns))], 100, 60_000).unwrap();
    assert!(text.len() > 100_000);
    // One turn of a megabyte.
    let long = "word ".repeat(200_000);
    let turns = vec![Value::from_pairs([("role", Value::from("user")), ("content", Value::from(long.as_str()))])];
    let text = program.render(vec![("messages".into(), Value::from(turns))], 1, long.len()).unwrap();
    assert!(text.len() > 2_000_000 - 10);
    assert!(program.render(Vec::new(), 1, LONGEST_CONVERSATION + 1).unwrap_err().contains("conversation"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// However deep a source nests, it is compiled and run or refused.
    #[test]
    fn nesting_ends(kind in 0..14usize, n in prop_oneof![0..200usize, 1_000..2_100usize, 8_000..60_000usize]) {
        if let Err(told) = rendered(&nested(kind, n)) {
            prop_assert!(told.len() < 1_000);
        }
    }

    /// Pieces of templates in any order: text or an error, in bounded time and memory.
    #[test]
    fn any_pieces_end(pieces in proptest::collection::vec(proptest::sample::select(vec![
        "{% for i in range(9999) %}", "{% endfor %}", "{% if x %}", "{% endif %}", "{% set x = 'ab' %}", "{% set x = x ~ x %}", "{% set x = [x, x] %}",
        "{{ x }}", "{{ x|tojson }}", "{{ x + x }}", "{% macro f(x) %}", "{{ f([x, x]) }}", "{% endmacro %}", "{{ -x }}", "{{", "}}", "{%", "%}", "{#", "#}",
        "{% generation %}", "{% endgeneration %}", "{% set ns = namespace(x=[]) %}", "{% set ns.x = [ns.x, ns.x] %}", "{{ ns.x }}", "{% break %}", "x", "\n",
        "{{ x|sort }}", "{{ x.split() }}", "{{ {x: x} }}", "{{ x[0] }}", "{{ x[::-1] }}", "{% set x %}", "{% endset %}", "{% filter upper %}", "{% endfilter %}",
    ]), 0..24)) {
        match rendered(&pieces.concat()) {
            Ok(text) => prop_assert!(text.len() <= FUEL as usize * 64),
            Err(told) => prop_assert!(told.len() < 2_000),
        }
    }
}
