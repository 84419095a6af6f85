//! One segment, as both syntaxes have it.

/// A tag and its elements, each of one component or more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Segment {
    /// Its place in the file, from 1; 0 in one that is yet to be written.
    pub number: u32,
    /// Such as `AT7` or `STS`.
    pub tag: String,
    /// Elements in order; one that is empty has no components.
    pub(super) elements: Vec<Vec<String>>,
}

impl Segment {
    /// A segment to be written, of simple elements. Empty ones at its end are left out when it is written.
    #[must_use]
    pub fn new<'t>(tag: &str, elements: impl IntoIterator<Item = &'t str>) -> Self {
        let one = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        Self { number: 0, tag: tag.to_owned(), elements: elements.into_iter().map(one).collect() }
    }

    /// A segment to be written, each element given by its components.
    #[must_use]
    pub fn composed(tag: &str, elements: &[&[&str]]) -> Self {
        let elements = elements.iter().map(|parts| parts.iter().map(|p| (*p).to_owned()).collect()).collect();
        Self { number: 0, tag: tag.to_owned(), elements }
    }

    /// The first component of element `n`, from 1; empty where there is none.
    #[must_use]
    pub fn get(&self, n: usize) -> &str {
        self.part(n, 1)
    }

    /// Component `c` of element `n`, both from 1; empty where there is none.
    #[must_use]
    pub fn part(&self, n: usize, c: usize) -> &str {
        let parts = n.checked_sub(1).and_then(|n| self.elements.get(n));
        parts.and_then(|parts| parts.get(c.checked_sub(1)?)).map_or("", String::as_str)
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether it is nothing but a tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The components of element `n`, from 1.
    pub(super) fn parts(&self, n: usize) -> &[String] {
        n.checked_sub(1).and_then(|n| self.elements.get(n)).map_or(&[], Vec::as_slice)
    }

    /// Takes empty components and elements off the ends.
    pub(super) fn trimmed(&self) -> Vec<Vec<String>> {
        let mut elements = self.elements.clone();
        for parts in &mut elements {
            while parts.last().is_some_and(String::is_empty) {
                parts.pop();
            }
        }
        while elements.last().is_some_and(Vec::is_empty) {
            elements.pop();
        }
        elements
    }
}
