//! The SQL of the store is that of `docs/decisions/0009-one-sql-two-engines.md`: each of its words stands there, and no
//! word stands there that is not used. Read from the sources, so that nobody has to remember the list.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Where one engine is spoken to in its own words, and what only one has stands.
const OF_ONE_ENGINE: [&str; 7] =
    ["sql/mod.rs", "sql/postgres.rs", "sql/sqlite.rs", "sql/log.rs", "migrations.rs", "tables.rs", "news.rs"];
/// A text with one of these is a statement, or a part of one.
const OF_STATEMENTS: [&str; 19] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "ALTER",
    "DROP",
    "WHERE",
    "ORDER",
    "FROM",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "SET",
    "NOTIFY",
    "LISTEN",
    "PRAGMA",
    "AND",
];
/// What not every engine takes, though each of its words may be one that is used; in small letters.
const NOT_TAKEN: [&str; 13] = [
    "->>",
    "::",
    "limit -1",
    "insert or ",
    "distinct on",
    "returning",
    "lateral",
    "recursive",
    "ilike",
    "nextval",
    "last_insert_rowid",
    "json_extract",
    "pg_advisory",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store")
}

/// Every file of the store but its tests, by its path there.
fn sources() -> Vec<(String, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned();
            match path.extension().and_then(|ending| ending.to_str()) {
                None if name != "contract" => folders.push(path),
                Some("rs" | "sql") => found.push((name, fs::read_to_string(path).unwrap())),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// The texts of a file: of one in Rust what stands between quotes, up to its tests.
fn texts(name: &str, source: &str) -> Vec<String> {
    if name.ends_with(".sql") {
        let lines = source.lines().map(|line| line.split("--").next().unwrap_or_default());
        return vec![lines.collect::<Vec<_>>().join("\n")];
    }
    let code: Vec<char> = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().chars().collect();
    let ends = |from: usize, end: char| (from..code.len()).find(|at| code[*at] == end).unwrap_or(code.len());
    let (mut found, mut at) = (Vec::new(), 0);
    while at < code.len() {
        let next = |ahead: usize| code.get(at + ahead).copied();
        at = match code[at] {
            '/' if next(1) == Some('/') => ends(at, '\n'),
            '"' => {
                let (text, end) = quoted(&code, at + 1);
                found.push(text);
                end
            }
            // A single character; else it is a lifetime.
            '\'' if next(1) == Some('\\') => ends(at + 3, '\'') + 1,
            '\'' if next(2) == Some('\'') => at + 3,
            _ => at + 1,
        };
    }
    found
}

/// What stands from `at` to the end of the quotes, and the place behind them.
fn quoted(code: &[char], mut at: usize) -> (String, usize) {
    let mut text = String::new();
    while at < code.len() && code[at] != '"' {
        if code[at] == '\\' {
            at += 1;
        }
        text.extend(code.get(at));
        at += 1;
    }
    (text, at + 1)
}

/// A statement without what it only quotes, and without what is put in.
fn bare(text: &str) -> String {
    let (mut bare, mut is_quoted, mut is_put_in) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            '{' | '}' if !is_quoted => is_put_in = c == '{',
            _ if is_quoted || is_put_in => {}
            _ => bare.push(c),
        }
    }
    bare
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The words of a statement, and its functions with a parenthesis; nothing if it is none.
fn words(bare: &str) -> BTreeSet<String> {
    let in_capitals = |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let mut words: BTreeSet<String> =
        bare.split(|c: char| !is_of_a_name(c)).filter(in_capitals).map(str::to_owned).collect();
    if OF_STATEMENTS.iter().all(|known| !words.contains(*known)) {
        return BTreeSet::new();
    }
    for (at, _) in bare.match_indices('(') {
        let before = &bare[..at];
        let name = before.rsplit(|c: char| !is_of_a_name(c)).next().unwrap_or_default();
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            words.insert(format!("{name}("));
        }
    }
    words
}

/// What is wrong with a statement, whatever its words are.
fn not_taken(bare: &str) -> Vec<String> {
    let small = bare.to_ascii_lowercase();
    let mut wrong: Vec<String> =
        NOT_TAKEN.iter().filter(|known| small.contains(**known)).map(|known| (*known).to_owned()).collect();
    for function in ["max(", "min("] {
        for (at, _) in small.match_indices(function) {
            if has_two_arguments(&small[at + function.len()..]) {
                wrong.push(format!("{function}a, b)"));
            }
        }
    }
    if small.matches("sum(").count() > small.matches("as bigint").count() {
        wrong.push("sum( without a cast".to_owned());
    }
    wrong
}

/// Whether a comma comes before the parenthesis that is open at the beginning is closed.
fn has_two_arguments(inside: &str) -> bool {
    let mut depth = 1;
    for c in inside.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 1 => return true,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    false
}

/// Words that are used in statements for both engines, words that are used only where one is spoken to, and what not
/// every engine takes.
fn read(sources: &[(String, String)]) -> ([BTreeSet<String>; 2], Vec<String>) {
    let (mut used, mut wrong) = ([BTreeSet::new(), BTreeSet::new()], Vec::new());
    for (name, source) in sources {
        let of_one = usize::from(OF_ONE_ENGINE.contains(&name.as_str()));
        for text in texts(name, source) {
            let bare = bare(&text);
            let words = words(&bare);
            if !words.is_empty() {
                wrong.extend(not_taken(&bare).into_iter().map(|what| format!("{name}: {what} in {text}")));
            }
            used[of_one].extend(words);
        }
    }
    let [everywhere, of_one] = used;
    let of_one = of_one.difference(&everywhere).cloned().collect();
    ([everywhere, of_one], wrong)
}

/// The words of the record, of both its lists.
fn listed() -> [BTreeSet<String>; 2] {
    let record = folder().join("../../../docs/decisions/0009-one-sql-two-engines.md");
    let record = fs::read_to_string(record).unwrap();
    let mut lists = record.split("```text\n").skip(1).map(|list| {
        let list = list.split("```").next().unwrap_or_default();
        list.split_whitespace().map(str::to_owned).collect::<BTreeSet<String>>()
    });
    let both = [lists.next().unwrap(), lists.next().unwrap()];
    assert_eq!(lists.next(), None, "the record has two lists");
    both
}

#[test]
fn every_word_of_the_stores_sql_stands_in_the_record_and_no_other_does() {
    let (used, wrong) = read(&sources());
    assert_eq!(wrong, Vec::<String>::new());
    for (used, listed) in used.iter().zip(&listed()) {
        let unlisted: Vec<&String> = used.difference(listed).collect();
        let unused: Vec<&String> = listed.difference(used).collect();
        assert!(unlisted.is_empty() && unused.is_empty(), "not in the record: {unlisted:?}; not used: {unused:?}");
    }
    assert!(used[0].len() > 40, "the statements are found: {:?}", used[0]);
}

/// The control: each of these is seen, put into a file of the store.
#[test]
fn a_statement_in_words_that_not_every_engine_takes_is_seen() {
    let planted = [
        "CREATE TABLE t (n SERIAL)",
        "INSERT INTO t (n) VALUES (1) ON CONFLICT ON CONSTRAINT once DO NOTHING",
        "INSERT INTO t (n) VALUES (1) RETURNING n",
        "SELECT n FROM t, LATERAL (SELECT 1) AS u",
        "WITH RECURSIVE t AS (SELECT 1) SELECT 1 FROM t",
        "select 1 from t where exists (SELECT pg_advisory_lock(1))",
        "CREATE TRIGGER t AFTER INSERT ON t",
        "CREATE FUNCTION f() RETURNS INTEGER",
        "SELECT n FROM t LIMIT -1",
        "INSERT OR IGNORE INTO t (n) VALUES (1)",
        "SELECT max(coalesce(a, 0), b) FROM t",
        "SELECT sum(n) FROM t",
        "SELECT body ->> 'a' FROM t",
        "SELECT DISTINCT ON (n) n FROM t",
        "SELECT n FROM t FOR UPDATE SKIP LOCKED",
        "LISTEN gatehouse",
    ];
    let [everywhere, _] = listed();
    let seen = |statement: &str| {
        let source = format!("const SQL: &str = \"{statement}\";\n");
        let ([used, _], wrong) = read(&[("planted.rs".to_owned(), source)]);
        !wrong.is_empty() || !used.is_subset(&everywhere)
    };
    for statement in planted {
        assert!(seen(statement), "{statement}");
    }
    for fine in ["SELECT coalesce(max(n), 0) FROM t", "SELECT CAST(sum(n) AS BIGINT) AS n FROM t GROUP BY 'LATERAL'"] {
        assert!(!seen(fine), "{fine}");
    }
    // What a comment, a character or a test says is none.
    let beside = "// \"LISTEN\"\nlet c = '\"'; let s = \"a\";\n#[cfg(test)]\nmod tests { \"LISTEN x\" }";
    assert_eq!(texts("planted.rs", beside), ["a"]);
    assert!(read(&[("news.rs".to_owned(), "\"LISTEN gatehouse\"".to_owned())]).0[1].contains("LISTEN"));
}
