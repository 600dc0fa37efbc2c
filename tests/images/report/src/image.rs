//! A linked image: its functions with their names, addresses and frames, and its constants.
//!
//! Source of truth: ELF, and the section `.stack_sizes` as LLVM writes it (an address, and the
//! size of the frame as ULEB128). Deliberately not here: instructions.

use std::{collections::BTreeMap, fs};

use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// A function of the image.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name as it is written in Rust.
    pub(crate) name: String,
    pub(crate) code_bytes: u64,
    /// What it takes of the stack by itself, if the compiler has said so.
    pub(crate) frame_bytes: Option<u64>,
}

/// An image.
#[derive(Debug)]
pub(crate) struct Image {
    /// By address.
    pub(crate) functions: BTreeMap<u64, Function>,
    /// Address and content of the constants.
    constants: (u64, Vec<u8>),
    is_big_endian: bool,
    word_bytes: usize,
}

impl Image {
    pub(crate) fn read(path: &str) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let file = object::File::parse(&*bytes).map_err(|error| format!("{path}: {error}"))?;
        let constants = match file.section_by_name(".rodata") {
            Some(section) => (section.address(), data(&section)?),
            None => (0, Vec::new()),
        };
        let mut image = Self {
            functions: functions(&file),
            constants,
            is_big_endian: !file.is_little_endian(),
            word_bytes: if file.is_64() { 8 } else { 4 },
        };
        let sizes = file.section_by_name(".stack_sizes").ok_or("the image has no .stack_sizes")?;
        image.take_frames(&data(&sizes)?)?;
        Ok(image)
    }

    /// The bytes of all constants.
    pub(crate) fn constant_bytes(&self) -> u64 {
        self.constants.1.len() as u64
    }

    /// The address of the function in whose code `address` lies.
    pub(crate) fn function_at(&self, address: u64) -> Option<u64> {
        let (start, function) = self.functions.range(..=address).next_back()?;
        (address < start + function.code_bytes).then_some(*start)
    }

    /// The word among the constants at this address.
    pub(crate) fn constant(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.constants.0)?).ok()?;
        Some(self.word(self.constants.1.get(offset..offset + self.word_bytes)?))
    }

    fn word(&self, bytes: &[u8]) -> u64 {
        let push = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
        if self.is_big_endian {
            bytes.iter().fold(0, push)
        } else {
            bytes.iter().rev().fold(0, push)
        }
    }

    fn take_frames(&mut self, mut sizes: &[u8]) -> Result<(), String> {
        while !sizes.is_empty() {
            let (address, rest) =
                sizes.split_at_checked(self.word_bytes).ok_or(".stack_sizes ends too early")?;
            let length = rest.iter().position(|byte| byte & 0x80 == 0);
            let (size, rest) = rest.split_at(length.ok_or(".stack_sizes ends too early")? + 1);
            let bytes =
                size.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F));
            // The lowest bit of an address is Thumb's mark.
            if let Some(function) = self.functions.get_mut(&(self.word(address) & !1)) {
                function.frame_bytes = Some(bytes);
            }
            sizes = rest;
        }
        Ok(())
    }
}

fn data(section: &object::Section<'_, '_>) -> Result<Vec<u8>, String> {
    section.data().map(<[u8]>::to_vec).map_err(|error| error.to_string())
}

fn functions(file: &object::File<'_>) -> BTreeMap<u64, Function> {
    file.symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .filter_map(|symbol| {
            let name = format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?));
            let function = Function { name, code_bytes: symbol.size(), frame_bytes: None };
            Some((symbol.address() & !1, function))
        })
        .collect()
}
