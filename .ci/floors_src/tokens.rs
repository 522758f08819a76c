//! From text to tokens, and from tokens to code that is compiled without tests.

/// An identifier, `::`, or one other character. Comments, strings and numbers are left out.
pub type Token = String;

pub fn is(tokens: &[Token], at: usize, token: &str) -> bool {
    tokens.get(at).is_some_and(|it| it == token)
}

pub fn ends_with(tokens: &[Token], end: &[&str]) -> bool {
    tokens.len() >= end.len() && tokens[tokens.len() - end.len()..].iter().eq(end)
}

pub fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '$')
}

/// The index of the bracket that closes the one at `open`.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    return i;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            while i < chars.len() {
                match (chars[i], at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if c == '"' {
            i = after_string(&chars, i);
            tokens.push("\"".to_owned());
        } else if c == '\'' {
            // A character, or else a lifetime.
            let literal = at(i + 1) == '\\' || at(i + 2) == '\'';
            i += if at(i + 1) == '\\' { 3 } else { 1 };
            while literal && i < chars.len() && chars[i] != '\'' {
                i += 1;
            }
            if literal {
                i += 1;
                tokens.push("'".to_owned());
            } else {
                while word(at(i)) {
                    i += 1;
                }
            }
        } else if c.is_ascii_digit() {
            while word(at(i)) || (at(i) == '.' && at(i + 1).is_ascii_digit()) {
                i += 1;
            }
            tokens.push("0".to_owned());
        } else if c.is_alphabetic() || c == '_' || (c == '$' && word(at(i + 1))) {
            let start = i;
            i += 1;
            while word(at(i)) {
                i += 1;
            }
            let name: String = chars[start..i].iter().collect();
            let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
            match name.as_str() {
                "r" | "br" | "cr" if at(i + hashes) == '"' => {
                    i = after_raw_string(&chars, i + hashes + 1, hashes);
                    tokens.push("\"".to_owned());
                }
                "b" | "c" if at(i) == '"' => {
                    i = after_string(&chars, i);
                    tokens.push("\"".to_owned());
                }
                "b" if at(i) == '\'' => {}
                // `r#name`: the name follows.
                "r" if hashes == 1 && word(at(i + 1)) => i += 1,
                _ => tokens.push(name),
            }
        } else if c == ':' && at(i + 1) == ':' {
            i += 2;
            tokens.push("::".to_owned());
        } else {
            i += 1;
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
        }
    }
    tokens
}

fn after_string(chars: &[char], open: usize) -> usize {
    let mut i = open + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn after_raw_string(chars: &[char], mut i: usize, hashes: usize) -> usize {
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).all(|c| *c == '#') {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// The tokens without attributes, but for the word `macro_export`, and without what a `#[cfg(..)]`
/// leaves out.
pub fn live(tokens: &[Token]) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if tokens[i] != "#" {
            out.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let inner = is(tokens, i + 1, "!");
        let open = i + 1 + usize::from(inner);
        if !is(tokens, open, "[") {
            out.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let end = closing(tokens, open);
        let attribute = &tokens[open + 1..end];
        let on = match attribute.first().map(String::as_str) {
            Some("cfg") => cfg(&attribute[2..attribute.len() - 1]),
            _ => None,
        };
        i = end + 1;
        match on {
            Some(false) if inner => return Vec::new(),
            Some(false) => i = after_item(tokens, i),
            _ if is(attribute, 0, "macro_export") => out.push("macro_export".to_owned()),
            _ => {}
        }
    }
    out
}

/// The value of a cfg's predicate in a build without `test`, `doctest` and `fuzzing`; none where
/// it depends on a feature or on the target.
fn cfg(predicate: &[Token]) -> Option<bool> {
    let inner = || &predicate[2..predicate.len() - 1];
    let parts = || {
        let mut parts = vec![Vec::new()];
        let mut depth = 0;
        for token in inner() {
            match token.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                "," if depth == 0 => {
                    parts.push(Vec::new());
                    continue;
                }
                _ => {}
            }
            parts.last_mut().expect("never empty").push(token.clone());
        }
        parts.retain(|part| !part.is_empty());
        parts.iter().map(|part| cfg(part)).collect::<Vec<_>>()
    };
    match predicate.first()?.as_str() {
        "test" | "doctest" | "fuzzing" => Some(false),
        "not" => cfg(inner()).map(|on| !on),
        "all" if parts().contains(&Some(false)) => Some(false),
        "all" if parts().iter().all(|on| *on == Some(true)) => Some(true),
        "any" if parts().contains(&Some(true)) => Some(true),
        "any" if parts().iter().all(|on| *on == Some(false)) => Some(false),
        _ => None,
    }
}

/// Where the code goes on behind the item, statement, field or arm at `i`.
fn after_item(tokens: &[Token], mut i: usize) -> usize {
    while is(tokens, i, "#") {
        i = closing(tokens, i + 1) + 1;
    }
    let mut kind = i;
    if is(tokens, kind, "pub") {
        kind += 1;
        if is(tokens, kind, "(") {
            kind = closing(tokens, kind) + 1;
        }
    }
    let kind = tokens.get(kind).map_or("", String::as_str);
    let to_semicolon = matches!(kind, "use" | "let" | "static" | "type");
    let item = to_semicolon
        || matches!(
            kind,
            "fn" | "impl"
                | "struct"
                | "enum"
                | "union"
                | "mod"
                | "trait"
                | "const"
                | "unsafe"
                | "async"
                | "extern"
                | "macro_rules"
        );
    while i < tokens.len() {
        match tokens[i].as_str() {
            ";" => return i + 1,
            "," if !item => return i + 1,
            "{" => {
                i = closing(tokens, i);
                if !to_semicolon {
                    return i + 1;
                }
            }
            "(" | "[" => i = closing(tokens, i),
            ")" | "]" | "}" => return i,
            _ => {}
        }
        i += 1;
    }
    i
}
