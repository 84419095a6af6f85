//! From words to a tree, with CEL's precedences and no deeper than is allowed.

use std::ops::Range;

use super::{
    DEPTH_MAX, Fault, NODES_MAX,
    lexer::{Placed, Word, words},
};

/// A part of a condition, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub at: Range<usize>,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Bool(bool),
    Int(i64),
    Text(String),
    /// A dotted name.
    Name(String),
    List(Vec<Node>),
    Unary(&'static str, Box<Node>),
    Binary(&'static str, Box<Node>, Box<Node>),
    Choice(Box<Node>, Box<Node>, Box<Node>),
    /// A function with its arguments.
    Call(String, Vec<Node>),
    /// A function of a value: `name.startsWith('x')`.
    Method(Box<Node>, String, Vec<Node>),
}

pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut parser = Parser { words: words(text)?, next: 0, depth: 0, nodes: 0 };
    let node = parser.choice()?;
    let (word, at) = parser.peek().clone();
    if word == Word::End {
        Ok(node)
    } else {
        Err(Fault::new(at, "the condition is complete before this; join two conditions with && or ||"))
    }
}

/// How tightly an operator binds; CEL's order.
fn power(sign: &Word) -> Option<(u8, &'static str)> {
    let Word::Sign(sign) = sign else {
        return matches!(sign, Word::Name(name) if name == "in").then_some((3, "in"));
    };
    let power = match *sign {
        "||" => 1,
        "&&" => 2,
        "==" | "!=" | "<" | "<=" | ">" | ">=" => 3,
        "+" | "-" => 4,
        "*" | "/" | "%" => 5,
        _ => return None,
    };
    Some((power, sign))
}

struct Parser {
    words: Vec<Placed>,
    next: usize,
    depth: usize,
    nodes: usize,
}

impl Parser {
    fn peek(&self) -> &Placed {
        // The last word is the end, and it is never passed.
        &self.words[self.next]
    }

    fn take(&mut self) -> Placed {
        let word = self.words[self.next].clone();
        self.next = (self.next + 1).min(self.words.len() - 1);
        word
    }

    fn accept(&mut self, sign: &'static str) -> bool {
        let there = self.peek().0 == Word::Sign(sign);
        if there {
            self.take();
        }
        there
    }

    fn expect(&mut self, sign: &'static str, whose: &Range<usize>) -> Result<Range<usize>, Fault> {
        let (word, at) = self.take();
        if word == Word::Sign(sign) {
            return Ok(at);
        }
        let place = if word == Word::End { whose.clone() } else { at };
        Err(Fault::new(place, format!("a {sign:?} is missing")))
    }

    fn node(&mut self, at: Range<usize>, kind: Kind) -> Result<Node, Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Fault::new(at, format!("the condition has more than {NODES_MAX} parts; split it into rules")));
        }
        Ok(Node { at, kind })
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX}; split the condition into rules");
            return Err(Fault::new(self.peek().1.clone(), message));
        }
        let done = work(self);
        self.depth -= 1;
        done
    }

    fn choice(&mut self) -> Result<Node, Fault> {
        self.deeper(|p| {
            let condition = p.binary(1)?;
            if !p.accept("?") {
                return Ok(condition);
            }
            let yes = p.binary(1)?;
            p.expect(":", &condition.at)?;
            let no = p.choice()?;
            let at = condition.at.start..no.at.end;
            p.node(at, Kind::Choice(Box::new(condition), Box::new(yes), Box::new(no)))
        })
    }

    fn binary(&mut self, least: u8) -> Result<Node, Fault> {
        let mut left = self.unary()?;
        while let Some((power, sign)) = power(&self.peek().0).filter(|(power, _)| *power >= least) {
            self.take();
            let right = self.deeper(|p| p.binary(power + 1))?;
            let at = left.at.start..right.at.end;
            left = self.node(at, Kind::Binary(sign, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, Fault> {
        let start = self.peek().1.start;
        for sign in ["!", "-"] {
            if self.accept(sign) {
                let inner = self.deeper(Self::unary)?;
                let at = start..inner.at.end;
                return self.node(at, Kind::Unary(sign, Box::new(inner)));
            }
        }
        self.member()
    }

    fn member(&mut self) -> Result<Node, Fault> {
        let mut node = self.primary()?;
        while self.accept(".") {
            let (word, at) = self.take();
            let Word::Name(name) = word else {
                return Err(Fault::new(at, "a name is missing after the dot"));
            };
            let whole = node.at.start..at.end;
            if self.accept("(") {
                let arguments = self.arguments(")", &whole)?;
                node = self.node(whole, Kind::Method(Box::new(node), name, arguments))?;
            } else if let Kind::Name(first) = &node.kind {
                node = Node { at: whole, kind: Kind::Name(format!("{first}.{name}")) };
            } else {
                return Err(Fault::new(at, format!("only facts have parts; there is no .{name} here")));
            }
        }
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        let (word, at) = self.take();
        match word {
            Word::Int(number) => self.node(at, Kind::Int(number)),
            Word::Text(text) => self.node(at, Kind::Text(text)),
            Word::Name(name) if name == "true" || name == "false" => self.node(at, Kind::Bool(name == "true")),
            Word::Name(name) if name == "in" => {
                Err(Fault::new(at, "what shall be in the list is missing before \"in\""))
            }
            Word::Name(name) if self.accept("(") => {
                let arguments = self.arguments(")", &at)?;
                self.node(at, Kind::Call(name, arguments))
            }
            Word::Name(name) => self.node(at, Kind::Name(name)),
            Word::Sign("(") => {
                let inner = self.choice()?;
                self.expect(")", &at)?;
                Ok(inner)
            }
            Word::Sign("[") => {
                let elements = self.arguments("]", &at)?;
                self.node(at, Kind::List(elements))
            }
            Word::Sign(sign) => Err(Fault::new(at, format!("a fact, a number or a text is missing before {sign:?}"))),
            Word::End => Err(Fault::new(at, "the condition breaks off; a fact, a number or a text is missing")),
        }
    }

    fn arguments(&mut self, close: &'static str, whose: &Range<usize>) -> Result<Vec<Node>, Fault> {
        let mut arguments = Vec::new();
        if self.accept(close) {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.choice()?);
            if !self.accept(",") {
                self.expect(close, whose)?;
                return Ok(arguments);
            }
        }
    }
}
