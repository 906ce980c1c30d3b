//! Which devices may be used: as lines for the `devices` controller of version 1, as a program (eBPF) for a cgroup of version 2. Pure.

use crate::containerizer::devices::{DeviceKind, DeviceRule};

/// What goes to `devices.allow` for each rule, after everything was denied.
pub(super) fn lines(rules: &[DeviceRule]) -> Vec<String> {
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |it| it.to_string());
    let line = |rule: &DeviceRule| {
        let kind = match rule.kind {
            DeviceKind::Character => 'c',
            DeviceKind::Block => 'b',
        };
        let access: String = [(rule.read, 'r'), (rule.write, 'w'), (rule.mknod, 'm')]
            .into_iter()
            .filter_map(|(allowed, letter)| allowed.then_some(letter))
            .collect();
        format!(
            "{kind} {}:{} {access}",
            number(rule.major),
            number(rule.minor)
        )
    };
    rules
        .iter()
        .filter(|rule| rule.read || rule.write || rule.mknod)
        .map(line)
        .collect()
}

// Codes of eBPF.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const AND_CONSTANT: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const UNLESS_CONSTANT: u8 = 0x55;
const UNLESS: u8 = 0x5d;
const EXIT: u8 = 0x95;

// Registers: the answer, the question, its parts, and one to work in.
const ANSWER: u8 = 0;
const QUESTION: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const WORK: u8 = 6;

// As `bpf_cgroup_dev_ctx` has them.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MAY_MAKE: i32 = 1;
const MAY_READ: i32 = 2;
const MAY_WRITE: i32 = 4;

/// One instruction, as the kernel takes it.
fn instruction(code: u8, to: u8, from: u8, offset: i16, constant: i32) -> u64 {
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = constant.to_ne_bytes();
    u64::from_ne_bytes([code, registers(to, from), low, high, a, b, c, d])
}

fn registers(to: u8, from: u8) -> u8 {
    if cfg!(target_endian = "little") {
        from << 4 | to
    } else {
        to << 4 | from
    }
}

/// A program that answers 1 if a rule allows all of what is asked, 0 otherwise. Rules do not add up, as in version 1.
pub(super) fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let load = |to, offset| instruction(LOAD_WORD, to, QUESTION, offset, 0);
    let answer = |value| {
        [
            instruction(MOVE_CONSTANT, ANSWER, 0, 0, value),
            instruction(EXIT, 0, 0, 0, 0),
        ]
    };
    let mut code = vec![
        load(KIND, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(AND_CONSTANT, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules {
        // Each test leaves the rule when it fails; how far away its end is is known afterwards.
        let kind = match rule.kind {
            DeviceKind::Character => CHARACTER,
            DeviceKind::Block => BLOCK,
        };
        let bit = |allowed, bit| if allowed { bit } else { 0 };
        let allowed =
            bit(rule.read, MAY_READ) | bit(rule.write, MAY_WRITE) | bit(rule.mknod, MAY_MAKE);
        let mut tests = vec![
            (UNLESS_CONSTANT, KIND, 0, kind),
            (MOVE, WORK, ACCESS, 0),
            (AND_CONSTANT, WORK, 0, allowed),
            (UNLESS, WORK, ACCESS, 0),
        ];
        for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
            // Numbers of devices have 20 bits at most: a larger one is none.
            if let Some(number) = number {
                let number = i32::try_from(number).unwrap_or(-1);
                tests.push((UNLESS_CONSTANT, register, 0, number));
            }
        }
        let length = tests.len();
        for (at, (operation, to, from, constant)) in tests.into_iter().enumerate() {
            let jumps = matches!(operation, UNLESS | UNLESS_CONSTANT);
            // Over the rest of the tests, and the answer.
            let over = if jumps { length - at - 1 + 2 } else { 0 };
            code.push(instruction(operation, to, from, over as i16, constant));
        }
        code.extend(answer(1));
    }
    code.extend(answer(0));
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerizer::devices::Devices;

    /// What the kernel would do.
    fn run(code: &[u64], question: [u32; 3]) -> u64 {
        let mut registers = [0u64; 11];
        let mut at = 0;
        loop {
            let [operation, both, low, high, a, b, c, d] = code[at].to_ne_bytes();
            let (to, from) = (usize::from(both & 15), usize::from(both >> 4));
            let offset = i16::from_ne_bytes([low, high]);
            let constant = i64::from(i32::from_ne_bytes([a, b, c, d])) as u64;
            at += 1;
            let mut jump_if = |yes| {
                if yes {
                    at = at.checked_add_signed(isize::from(offset)).unwrap();
                }
            };
            match operation {
                LOAD_WORD => registers[to] = u64::from(question[offset as usize / 4]),
                MOVE => registers[to] = registers[from],
                MOVE_CONSTANT => registers[to] = constant,
                AND_CONSTANT => registers[to] &= constant & 0xffff_ffff,
                SHIFT_RIGHT => registers[to] = (registers[to] & 0xffff_ffff) >> constant,
                UNLESS_CONSTANT => jump_if(registers[to] != constant),
                UNLESS => jump_if(registers[to] != registers[from]),
                EXIT => return registers[0],
                other => panic!("no instruction: {other:#x}"),
            }
        }
    }

    #[test]
    fn both_versions_are_told_the_same() {
        let mut rules = Devices::default().rules;
        rules.push(DeviceRule {
            kind: DeviceKind::Block,
            major: Some(8),
            minor: Some(1),
            read: true,
            write: false,
            mknod: false,
        });
        let lines = lines(&rules);
        assert_eq!(lines[0], "c *:* m");
        assert_eq!(lines[5], "c 136:* rwm");
        assert_eq!(lines[14], "b 8:1 r");
        let code = program(&rules);
        let ask = |kind: i32, access: i32, major, minor| {
            run(&code, [(access << 16 | kind) as u32, major, minor])
        };
        for (kind, access, major, minor, allowed) in [
            (CHARACTER, MAY_READ | MAY_WRITE, 1, 3, 1),
            (CHARACTER, MAY_READ, 136, 77, 1),
            (CHARACTER, MAY_MAKE, 99, 99, 1),
            (BLOCK, MAY_MAKE, 8, 0, 1),
            (BLOCK, MAY_READ, 8, 0, 0),
            (BLOCK, MAY_READ, 8, 1, 1),
            (BLOCK, MAY_READ | MAY_WRITE, 8, 1, 0),
            (CHARACTER, MAY_READ, 8, 1, 0),
            (BLOCK, MAY_READ, 1, 3, 0),
            (CHARACTER, MAY_READ, 1, 11, 0),
        ] {
            assert_eq!(
                ask(kind, access, major, minor),
                allowed,
                "{kind} {access} {major}:{minor}"
            );
        }
        assert_eq!(run(&program(&[]), [1 << 16 | 2, 1, 3]), 0);
    }
}
