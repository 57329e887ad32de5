//! Jinja as transformers evaluates chat templates, within bounds.
//!
//! A template comes from a file that somebody else wrote, and it is a program: it can nest until a parser's stack ends, loop for
//! ever, or double a text until memory ends. So its source has a longest length and its tags a most number of tokens; it is parsed
//! and run on a thread whose stack fits these; every step and every byte that it makes costs fuel, which grows with the
//! conversation alone; and a value that holds others is weighed when it is made and where it is used, so that a list of
//! lists of lists cannot stand for more than memory holds. minijinja's own fuel pays for texts; the weighing is ours, put in place of the
//! instructions that build, compare and print.

mod date;
mod environment;
mod operators;
mod text;
mod weigh;

use super::foreign::{panic_text, shortened};
use environment::environment;
use minijinja::machinery::{
    CodeGenerator, Instruction, Instructions, Token, eval, make_string_output, parse, tokenize,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Error, ErrorKind};
use std::collections::BTreeMap;

/// The name that errors have.
const NAME: &str = "chat_template";
/// Longest source of a template, in bytes; the longest published ones have some 40 kB.
pub(super) const LONGEST_SOURCE: usize = 128 << 10;
/// Most tokens between `{%` and `%}` or `{{` and `}}`: no expression nests deeper.
const MOST_TOKENS: usize = 2_000;
/// Longest conversation, in bytes of all its texts.
pub(super) const LONGEST_CONVERSATION: usize = 4 << 20;
/// Steps (of 64 bytes each where bytes are made) that every render has, and those for each message and each byte beside.
const FUEL: u64 = 100_000;
const FUEL_OF_MESSAGE: u64 = 1_000;
/// Virtual memory, of which only what is used is taken. Deepest are an expression of [`MOST_TOKENS`], a chain of `elif`s as long as the
/// source, and a chain of additions as long as the fuel.
const STACK: usize = 128 << 20;

type Outcome<T> = std::result::Result<T, Error>;

/// A template that was parsed once, so that it can be run.
#[derive(Debug, Clone)]
pub(super) struct Program {
    source: String,
}

impl Program {
    /// Checks and compiles a source.
    ///
    /// # Errors
    /// Why it is no template, in words.
    pub(super) fn new(source: String) -> std::result::Result<Self, String> {
        on_own_stack(|| compile(&source).map(|_| ()))?;
        Ok(Self { source })
    }

    /// What the template makes of these variables; `messages` and `bytes` are the size of the conversation among them.
    ///
    /// # Errors
    /// What the template raised, or which bound it met, in words.
    pub(super) fn render(
        &self,
        variables: Vec<(String, Value)>,
        messages: usize,
        bytes: usize,
    ) -> std::result::Result<String, String> {
        if bytes > LONGEST_CONVERSATION {
            return Err(format!("expected a conversation of at most {LONGEST_CONVERSATION} bytes, got {bytes}"));
        }
        on_own_stack(|| {
            let mut environment = environment();
            let fuel = FUEL + FUEL_OF_MESSAGE.saturating_mul(messages as u64) + bytes as u64 / 4;
            environment.set_fuel(Some(fuel));
            let (instructions, blocks) = compile(&self.source)?;
            let mut text = String::new();
            let mut output = make_string_output(&mut text);
            // The state must end before the text is given away: it may hold values of great depth.
            eval(&environment, &instructions, Value::from_pairs(variables), &blocks, &mut output, AutoEscape::None)
                .map(drop)
                .map_err(|e| in_words(e, fuel))?;
            Ok(text)
        })
    }
}

/// The bound in place of minijinja's "engine ran out of fuel".
fn in_words(error: Error, fuel: u64) -> Error {
    match error.kind() {
        ErrorKind::OutOfFuel => Error::new(
            ErrorKind::OutOfFuel,
            format!(
                "expected at most {fuel} steps (one for each 64 bytes that are made) for this conversation, got more"
            ),
        ),
        _ => error,
    }
}

/// What transformers sets: the line break after a tag and the blanks before one are no text.
fn syntax() -> Outcome<SyntaxConfig> {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()
}

type Code<'a> = (Instructions<'a>, BTreeMap<&'a str, Instructions<'a>>);

fn compile(source: &str) -> Outcome<Code<'_>> {
    let syntax = syntax()?;
    check(source, &syntax)?;
    let tree = parse(source, NAME, syntax)?;
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(&tree);
    let (mut instructions, mut blocks) = generator.finish();
    for code in std::iter::once(&mut instructions).chain(blocks.values_mut()) {
        weigh_what_is_made(code)?;
    }
    Ok((instructions, blocks))
}

/// Bounds the depth that the parser can go to, before it does.
fn check(source: &str, syntax: &SyntaxConfig) -> Outcome<()> {
    let refused = |message: String| Err(Error::new(ErrorKind::SyntaxError, message));
    if source.len() > LONGEST_SOURCE {
        return refused(format!("expected at most {LONGEST_SOURCE} bytes, got {}", source.len()));
    }
    let mut tokens = 0;
    for token in tokenize(source, false, syntax.clone()) {
        let (token, span) = token?;
        match token {
            Token::VariableStart | Token::BlockStart | Token::TemplateData(_) => tokens = 0,
            _ => tokens += 1,
        }
        if tokens > MOST_TOKENS {
            return refused(format!(
                "expected tags of at most {MOST_TOKENS} tokens, got more (line {})",
                span.start_line
            ));
        }
    }
    Ok(())
}

/// Puts functions of ours, which weigh, in the place of each instruction that makes or reads values which hold others. Every function
/// takes from the stack what the instruction took and leaves what it left, so that no jump moves.
fn weigh_what_is_made(code: &mut Instructions<'_>) -> Outcome<()> {
    let few = |count: usize| {
        u16::try_from(count)
            .map_err(|_| Error::new(ErrorKind::SyntaxError, format!("expected up to 65535 items, got {count}")))
    };
    let mut at = 0;
    while let Some(instruction) = code.get_mut(at) {
        let (name, count) = match instruction {
            Instruction::BuildList(count) => (operators::LIST, count.map(few).transpose()?),
            Instruction::BuildTuple(count) => (operators::TUPLE, count.map(few).transpose()?),
            Instruction::BuildMap(pairs) => (operators::MAP, Some(few(2 * *pairs)?)),
            Instruction::Add => (operators::ADD, Some(2)),
            Instruction::Mul => (operators::MUL, Some(2)),
            Instruction::StringConcat => (operators::CONCAT, Some(2)),
            Instruction::GetItem => (operators::ITEM, Some(2)),
            Instruction::Eq => (operators::EQ, Some(2)),
            Instruction::Ne => (operators::NE, Some(2)),
            Instruction::Lt => (operators::LT, Some(2)),
            Instruction::Lte => (operators::LE, Some(2)),
            Instruction::Gt => (operators::GT, Some(2)),
            Instruction::Gte => (operators::GE, Some(2)),
            Instruction::In => (operators::IN, Some(2)),
            Instruction::CompareAndPreserve(_) => {
                let message = "a chain of comparisons (`a < b < c`) is not supported: write `a < b and b < c`";
                return Err(Error::new(ErrorKind::SyntaxError, message));
            }
            Instruction::ApplyFilter(name, count, _) => match environment::FILTERS.iter().find(|(of, _)| of == name) {
                Some((_, weighed)) => (*weighed, *count),
                None => return Err(Error::new(ErrorKind::UnknownFilter, format!("filter {name} is unknown"))),
            },
            Instruction::PerformTest(name, count, _) => match environment::TESTS.iter().find(|(of, _)| of == name) {
                Some((_, weighed)) => (*weighed, *count),
                None => return Err(Error::new(ErrorKind::UnknownTest, format!("test {name} is unknown"))),
            },
            _ => {
                at += 1;
                continue;
            }
        };
        *instruction = Instruction::CallFunction(name, count);
        at += 1;
    }
    Ok(())
}

/// Runs on a thread with a stack of its own: how deep it may go does not hang on who calls.
fn on_own_stack<T: Send>(run: impl FnOnce() -> Outcome<T> + Send) -> std::result::Result<T, String> {
    std::thread::scope(|scope| {
        // The error is told in words on that thread, as its causes may nest, too.
        let told = move || run().map_err(|e| shortened(&e.to_string()));
        match std::thread::Builder::new().name(NAME.into()).stack_size(STACK).spawn_scoped(scope, told) {
            Ok(thread) => {
                thread.join().unwrap_or_else(|panic| Err(format!("its code failed: {}", panic_text(&*panic))))
            }
            Err(e) => Err(format!("expected a thread with a stack of {STACK} bytes: {e}")),
        }
    })
}

#[cfg(test)]
mod tests;
