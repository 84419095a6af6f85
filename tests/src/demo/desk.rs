//! What people see and do on the pages: small clients of the depots' page and the hub's API.
//!
//! Only what a person or an integration could do: public routes, with a login of their own.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// A login at a depot's page or at the hub.
#[derive(Debug, Clone)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The PIN.
    pub pin: String,
}

/// One page or API, and who is signed in.
#[derive(Debug, Clone)]
pub struct Desk {
    http: reqwest::Client,
    /// Where it is, such as `http://127.0.0.1:8321`.
    pub address: String,
    login: Login,
}

/// A dispatch as a depot's page shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its document.
    pub id: String,
    /// For which order.
    pub order: String,
    /// Which dispatch of the order.
    pub occurrence: u64,
    /// Where it stands.
    pub state: String,
    /// Whether it must not leave although cargo is on board.
    pub stop: bool,
    /// Whether the depot has seen that the release was taken back.
    pub recall_seen: bool,
    /// Units per line that it shall carry.
    pub load: Vec<(u16, u32)>,
    /// Whether it was ever released.
    pub released: bool,
}

impl Desk {
    /// Signs in; nothing is sent yet.
    #[must_use]
    pub fn new(http: reqwest::Client, address: String, login: Login) -> Self {
        Self { http, address, login }
    }

    /// The same page, with someone else of the same PIN signed in.
    #[must_use]
    pub fn of(&self, name: &str) -> Self {
        let login = Login { name: name.to_owned(), pin: self.login.pin.clone() };
        Self { http: self.http.clone(), address: self.address.clone(), login }
    }

    /// Reads `path`.
    /// # Errors
    /// If it cannot be read; a program that was just killed is back a moment later.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.http.get(format!("{}{path}", self.address)).timeout(Duration::from_secs(5));
        let answer = request.basic_auth(&self.login.name, Some(&self.login.pin)).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{path} answered {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{path} answered {text}"))
    }

    /// Posts `body` to `path`. Gives whether it was taken, and the answer's words.
    /// # Errors
    /// If there was no answer.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<(bool, String)> {
        let request = self.http.post(format!("{}{path}", self.address)).timeout(Duration::from_secs(10));
        let answer = request.basic_auth(&self.login.name, Some(&self.login.pin)).json(body).send().await?;
        let status = answer.status();
        Ok((status.is_success(), format!("{status}: {}", answer.text().await.unwrap_or_default())))
    }

    /// All dispatches on a depot's board.
    /// # Errors
    /// If the page does not answer.
    pub async fn board(&self) -> anyhow::Result<Vec<Shown>> {
        let board = self.get("/api/board").await?;
        let mut shown = Vec::new();
        gather(&board, &mut shown);
        shown.sort_by(|a, b| (&a.order, a.occurrence).cmp(&(&b.order, b.occurrence)));
        shown.dedup_by(|a, b| a.id == b.id);
        Ok(shown)
    }

    /// The newest dispatch of an order on the board, or `None` while the page cannot say.
    pub async fn dispatch(&self, order: &str) -> Option<Shown> {
        let board = self.board().await.ok()?;
        board.into_iter().rfind(|shown| shown.order == order)
    }

    /// The first dispatch of an order on the board, or `None` while the page cannot say.
    pub async fn first_dispatch(&self, order: &str) -> Option<Shown> {
        let board = self.board().await.ok()?;
        board.into_iter().find(|shown| shown.order == order)
    }

    /// Acts on a dispatch with a reason.
    /// # Errors
    /// If there was no answer.
    pub async fn act(&self, dispatch: &str, verb: &str, reason: &str) -> anyhow::Result<(bool, String)> {
        self.post(&format!("/api/dispatches/{dispatch}/{verb}"), &json!({ "reason": reason })).await
    }
}

/// Every object that looks like a dispatch, wherever in the answer it stands.
fn gather(value: &Value, shown: &mut Vec<Shown>) {
    match value {
        Value::Array(values) => values.iter().for_each(|v| gather(v, shown)),
        Value::Object(map) => match read(value) {
            Some(dispatch) => shown.push(dispatch),
            None => map.values().for_each(|v| gather(v, shown)),
        },
        _ => {}
    }
}

fn read(value: &Value) -> Option<Shown> {
    // The view may stand inside, beside the document's id.
    let view = if value["view"].is_object() { &value["view"] } else { value };
    // Cases stand on the board as well; only a dispatch is planned to depart.
    view.get("planned_departure")?;
    let id = ["id", "document", "dispatch"].iter().find_map(|key| value[key].as_str())?;
    let load = view["load"].as_array().map(|lines| {
        let number = |line: &Value, key: &str| line[key].as_u64();
        lines
            .iter()
            .filter_map(|l| {
                Some((u16::try_from(number(l, "line")?).ok()?, u32::try_from(number(l, "quantity")?).ok()?))
            })
            .collect()
    });
    Some(Shown {
        id: id.to_owned(),
        order: view["order"].as_str()?.to_owned(),
        occurrence: view["occurrence"].as_u64().unwrap_or(1),
        state: view["state"].as_str()?.to_owned(),
        stop: view["stop_departure"].as_bool().unwrap_or(false),
        recall_seen: view["recall_seen"].as_bool().unwrap_or(false),
        load: load.unwrap_or_default(),
        released: !view["release"].is_null(),
    })
}
