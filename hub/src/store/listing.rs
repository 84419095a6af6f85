//! Names of documents, whether they were folded since their last change or not.

use gatehouse_common::id::{DocumentId, DocumentKind};

use super::{Reader, StoreError, row, sql::params};

impl Reader<'_> {
    /// Every document of a kind, by name.
    /// # Errors
    /// [`StoreError::Damaged`] if a name cannot be read.
    pub fn document_ids(&self, kind: DocumentKind) -> Result<Vec<DocumentId>, StoreError> {
        let sql = "SELECT document FROM documents WHERE kind = ?1 ORDER BY document";
        self.sql.query(sql, params![kind.as_str()], |r| row::parse("documents", &r.get::<String>("document")?))
    }
}
