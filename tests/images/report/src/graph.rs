//! Who calls whom in an image, and how deep the stack gets.
//!
//! Source of truth: the image and its disassembly. Invariants: recursion, a frame of unknown size
//! and an indirect call that no rule explains are errors. Deliberately not here: how much is
//! allowed.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    assembly::{self, Call, Exit},
    image::{Function, Image},
};

/// A rule: an indirect call in a function whose name contains `caller` leads to one of the
/// functions whose name contains `callee`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Indirect {
    pub(crate) caller: String,
    pub(crate) callee: String,
}

/// The functions of an image and their calls.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) image: Image,
    pub(crate) calls: Vec<Call>,
    callees: BTreeMap<u64, BTreeSet<u64>>,
}

/// A stack at its deepest: the bytes, and the functions from the first on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Depth {
    pub(crate) bytes: u64,
    pub(crate) path: Vec<u64>,
}

impl Graph {
    pub(crate) fn read(target: &str, path: &str, rules: &[Indirect]) -> Result<Self, String> {
        let image = Image::read(path)?;
        let calls = assembly::calls(target, path, &image)?;
        let mut callees: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for call in &calls {
            let targets = match call.exit {
                Exit::Direct(callee) => vec![callee],
                Exit::Indirect => explained(&image, call.caller, rules),
            };
            callees.entry(call.caller).or_default().extend(targets);
        }
        Ok(Self { image, calls, callees })
    }

    pub(crate) fn name(&self, function: u64) -> &str {
        self.image.functions.get(&function).map_or("?", |function| &function.name)
    }

    /// The functions whose name begins with `prefix`.
    pub(crate) fn named(&self, prefix: &str) -> Vec<u64> {
        let begins = |function: &Function| function.name.starts_with(prefix);
        let all = self.image.functions.iter();
        all.filter(|(_, function)| begins(function)).map(|(address, _)| *address).collect()
    }

    pub(crate) fn callees(&self, function: u64) -> impl Iterator<Item = u64> + '_ {
        self.callees.get(&function).into_iter().flatten().copied()
    }

    /// All functions that can be reached from these, themselves included.
    pub(crate) fn reached(&self, roots: &[u64]) -> BTreeSet<u64> {
        let mut reached = BTreeSet::new();
        let mut open = roots.to_vec();
        while let Some(function) = open.pop() {
            if reached.insert(function) {
                open.extend(self.callees(function));
            }
        }
        reached
    }

    /// The deepest stack from `root` on. Frames of functions for which `is_free` do not count.
    pub(crate) fn depth(
        &self,
        root: u64,
        is_free: &impl Fn(&str) -> bool,
    ) -> Result<Depth, String> {
        self.depth_below(root, is_free, &mut Vec::new(), &mut BTreeMap::new())
    }

    fn depth_below(
        &self,
        function: u64,
        is_free: &impl Fn(&str) -> bool,
        above: &mut Vec<u64>,
        known: &mut BTreeMap<u64, Depth>,
    ) -> Result<Depth, String> {
        if let Some(depth) = known.get(&function) {
            return Ok(depth.clone());
        }
        if above.contains(&function) {
            let path: Vec<&str> = above.iter().map(|function| self.name(*function)).collect();
            return Err(format!("recursion: {} -> {}", path.join(" -> "), self.name(function)));
        }
        above.push(function);
        let mut deepest = Depth::default();
        for callee in self.callees(function) {
            let depth = self.depth_below(callee, is_free, above, known)?;
            if depth.bytes > deepest.bytes {
                deepest = depth;
            }
        }
        above.pop();
        deepest.bytes += if is_free(self.name(function)) { 0 } else { self.frame(function)? };
        deepest.path.insert(0, function);
        known.insert(function, deepest.clone());
        Ok(deepest)
    }

    /// What the function takes of the stack by itself.
    pub(crate) fn frame(&self, function: u64) -> Result<u64, String> {
        let frame = self.image.functions.get(&function).and_then(|function| function.frame_bytes);
        frame.ok_or_else(|| format!("the frame of {} is not known", self.name(function)))
    }

    /// The functions among these with an indirect call that no rule explains.
    pub(crate) fn unexplained(&self, among: &BTreeSet<u64>, rules: &[Indirect]) -> Vec<&str> {
        let callers = self.calls.iter().filter(|call| call.exit == Exit::Indirect);
        let callers: BTreeSet<u64> =
            callers.map(|call| call.caller).filter(|caller| among.contains(caller)).collect();
        callers
            .into_iter()
            .filter(|caller| explained(&self.image, *caller, rules).is_empty())
            .map(|caller| self.name(caller))
            .collect()
    }
}

fn explained(image: &Image, caller: u64, rules: &[Indirect]) -> Vec<u64> {
    let name = image.functions.get(&caller).map_or("", |function| &function.name);
    let rules: Vec<&Indirect> = rules.iter().filter(|rule| name.contains(&rule.caller)).collect();
    let fits = |function: &Function| rules.iter().any(|rule| function.name.contains(&rule.callee));
    let all = image.functions.iter();
    all.filter(|(_, function)| fits(function)).map(|(address, _)| *address).collect()
}
