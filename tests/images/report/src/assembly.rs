//! The instructions of an image that lead elsewhere, from the disassembler of binutils.
//!
//! Source of truth: `objdump -d` of GNU binutils. Invariants: a jump through a table counts as
//! staying in its function only when the table, or the instruction, says so. Deliberately not
//! here: what the calls add up to.

use std::process::Command;

use crate::image::Image;

/// A way out of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// To the function at this address, by a call or a jump.
    Direct(u64),
    /// To wherever a register says.
    Indirect,
}

/// A way out, the address of its instruction, and the function that it leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) site: u64,
    pub(crate) caller: u64,
    pub(crate) exit: Exit,
}

/// One line of a disassembly.
struct Instruction<'t> {
    address: u64,
    mnemonic: &'t str,
    operands: &'t str,
}

/// How far above a jump its table may be named.
const TABLE_DISTANCE: usize = 160;

/// The prefix of the programs of binutils for a target.
pub(crate) fn binutils(target: &str) -> Result<&'static str, String> {
    match target.split('-').next() {
        Some("s390x") => Ok("s390x-linux-gnu"),
        Some("thumbv7em") => Ok("arm-none-eabi"),
        _ => Err(format!("no disassembler is known for {target}")),
    }
}

/// All ways out of all functions.
pub(crate) fn calls(target: &str, path: &str, image: &Image) -> Result<Vec<Call>, String> {
    let program = format!("{}-objdump", binutils(target)?);
    let output = Command::new(&program).args(["-d", "--no-show-raw-insn", path]).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let code: Vec<Instruction<'_>> = text.lines().filter_map(instruction).collect();
    let mut calls = Vec::new();
    for (index, at) in code.iter().enumerate() {
        let Some(caller) = image.function_at(at.address) else {
            continue;
        };
        let above = &code[index.saturating_sub(TABLE_DISTANCE)..index];
        if let Some(exit) = exit(at, caller, above, image) {
            calls.push(Call { site: at.address, caller, exit });
        }
    }
    Ok(calls)
}

/// `   41d50:\tbrasl\t%r14,5e670 <name>`
fn instruction(line: &str) -> Option<Instruction<'_>> {
    let (address, rest) = line.split_once(":\t")?;
    let (mnemonic, operands) = rest.split_once('\t').unwrap_or((rest, ""));
    let address = u64::from_str_radix(address.trim(), 16).ok()?;
    Some(Instruction { address, mnemonic: mnemonic.trim(), operands: operands.trim() })
}

fn exit(
    at: &Instruction<'_>,
    caller: u64,
    above: &[Instruction<'_>],
    image: &Image,
) -> Option<Exit> {
    if is_indirect(at) {
        let stays = at.mnemonic == "br" && has_table(caller, above, image);
        return (!stays).then_some(Exit::Indirect);
    }
    let is_call = ["brasl", "bras", "bl"].contains(&at.mnemonic);
    let callee = image.function_at(destination(at)?)?;
    let is_code = !["larl", "ldr", "adr", "lrl", "lgrl"].contains(&at.mnemonic);
    (is_code && (is_call || callee != caller)).then_some(Exit::Direct(callee))
}

/// Whether a register says where to go; a return does not count.
fn is_indirect(at: &Instruction<'_>) -> bool {
    let operand = at.operands.split([' ', ';']).next().unwrap_or_default();
    match at.mnemonic {
        "basr" | "blx" => true,
        "br" => operand != "%r14",
        mnemonic if mnemonic.starts_with("bx") => operand != "lr",
        "mov" | "mov.w" | "ldr" | "ldr.w" => operand.starts_with("pc,"),
        _ => false,
    }
}

/// Whether one of the instructions above names a table whose first word lies in this function.
fn has_table(caller: u64, above: &[Instruction<'_>], image: &Image) -> bool {
    above.iter().filter(|at| at.mnemonic == "larl").any(|at| {
        let word = destination(at).and_then(|table| image.constant(table));
        word.is_some_and(|word| word != caller && image.function_at(word) == Some(caller))
    })
}

/// The address before `<name>` in the operands.
fn destination(at: &Instruction<'_>) -> Option<u64> {
    let (operands, _) = at.operands.split_once(" <")?;
    u64::from_str_radix(operands.rsplit([',', ' ']).next()?, 16).ok()
}
