//! Sets the scene: folders, configurations, keys, and the real programs, all on loopback and free ports.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    buses::{Day, Depot},
    business::Business,
    desk::{Desk, Login},
    line::Line,
    pace::Pace,
    plan::Plan,
    programs::{Program, free_port, wait_for},
};

/// The PIN of every pretend person. They exist only in the run's own folder and on loopback.
pub const PIN: &str = "2468";
const WMS_TOKEN: &str = "demo-wms-token";
const TMS_TOKEN: &str = "demo-tms-token";
const ERP_TOKEN: &str = "demo-erp-token";

/// A store for the checker to read.
#[derive(Debug, Clone, Serialize)]
pub struct StoreRef {
    /// Name of the agent, or `hub`.
    pub name: String,
    /// gateway, vehicle or hub.
    pub kind: &'static str,
    /// The depot, for gateways.
    pub site: Option<String>,
    /// The vehicle, for vehicle units.
    pub vehicle: Option<String>,
    /// The SQLite file, from the run's folder.
    pub file: String,
}

/// Where the programs are and where the run keeps its files.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The run's folder.
    pub folder: PathBuf,
    /// Folder of the programs.
    pub programs: PathBuf,
    /// Host and port of the depots' broker.
    pub broker: (String, u16),
    /// The pretend clock.
    pub pace: Pace,
}

/// One agent at work.
#[derive(Debug)]
pub struct Agent {
    /// Its program.
    pub program: Program,
    /// Its line to the hub.
    pub line: Line,
    /// Its page, with the supervisor signed in.
    pub desk: Arc<Desk>,
    /// Which store it is for the checker.
    pub store: StoreRef,
}

/// Everything that runs.
#[derive(Debug)]
pub struct Scene {
    /// The hub.
    pub hub: Program,
    /// The hub's API, with finance signed in.
    pub finance: Arc<Desk>,
    /// Gateways and the vehicle unit.
    pub agents: Vec<Agent>,
    /// Stand-ins for ERP, WMS and TMS.
    pub standins: Vec<Program>,
    /// What they are told.
    pub business: Business,
    /// The hub's public key.
    pub hub_key: String,
}

impl Scene {
    /// The agent of a depot.
    #[must_use]
    pub fn agent_at(&self, site: &str) -> Option<&Agent> {
        self.agents.iter().find(|a| a.store.site.as_deref() == Some(site))
    }

    /// Every store, for the checker.
    #[must_use]
    pub fn stores(&self) -> Vec<StoreRef> {
        let hub = StoreRef { name: "hub".into(), kind: "hub", site: None, vehicle: None, file: "hub/hub.db".into() };
        self.agents.iter().map(|a| a.store.clone()).chain([hub]).collect()
    }

    /// Ends everything that was started.
    pub async fn end(&self) {
        for agent in &self.agents {
            agent.program.stop().await;
        }
        self.hub.stop().await;
        for standin in &self.standins {
            standin.stop().await;
        }
    }
}

impl Ground {
    fn program(&self, name: &str, arguments: Vec<String>, log_name: &str) -> anyhow::Result<Program> {
        Ok(Program::new(log_name, self.path_of(name)?, arguments, &self.folder.join("logs")))
    }

    fn path_of(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.programs.join(name);
        if !path.is_file() {
            bail!("{} is missing; build it with `./run demo`, which builds everything", path.display());
        }
        Ok(path)
    }

    fn clock_arguments(&self) -> Vec<String> {
        let Pace { start, real_start_ms, speed } = self.pace;
        [
            ["--clock-start".to_owned(), start.to_string()],
            ["--clock-real-start".to_owned(), real_start_ms.to_string()],
            ["--clock-speed".to_owned(), speed.to_string()],
        ]
        .concat()
    }

    /// Makes folders, keys and configurations, starts every program and waits until each answers.
    /// # Errors
    /// What could not be made or started.
    pub async fn set(&self, day: &Day, plan: &Plan, http: &reqwest::Client) -> anyhow::Result<Scene> {
        for folder in ["hub", "logs"] {
            fs::create_dir_all(self.folder.join(folder)).with_context(|| format!("making {folder}"))?;
        }
        let hub_address = free_port()?;
        let hub_url = format!("http://{hub_address}");
        let (standins, business) = self.start_standins(&hub_url, http).await?;
        let pin = Program::ask(&self.path_of("gatehouse-hub")?, &["hash-pin"], Some(PIN)).await?;
        let pin = pin.split('"').nth(1).unwrap_or(&pin).to_owned();
        let config = self.write_hub_config(&business.erp, &pin)?;
        let database = format!("sqlite:{}", self.folder.join("hub/hub.db").display());
        let place = ["--database".to_owned(), database.clone(), "--config".to_owned(), config.display().to_string()];
        let hub_path = self.path_of("gatehouse-hub")?;
        let asked: Vec<&str> = std::iter::once("public-key").chain(place.iter().map(String::as_str)).collect();
        let hub_key = Program::ask(&hub_path, &asked, None).await?;

        let mut agents = Vec::new();
        let mut wanted: Vec<(StoreRef, Option<&Depot>)> = Vec::new();
        for (number, (site, depot)) in day.depots.iter().enumerate() {
            let name = format!("gw-{}", number + 1);
            let file = format!("{name}/agent.db");
            let store = StoreRef { name, kind: "gateway", site: Some(site.clone()), vehicle: None, file };
            wanted.push((store, Some(depot)));
        }
        let name = format!("unit-{}", plan.unit_vehicle);
        let file = format!("{name}/agent.db");
        let vehicle = Some(plan.unit_vehicle.clone());
        wanted.push((StoreRef { name, kind: "vehicle", site: None, vehicle, file }, None));
        for (store, depot) in wanted {
            agents.push(self.prepare_agent(store, depot, plan, hub_address, &hub_key, &pin, &database, http).await?);
        }

        let mut arguments = vec!["serve".to_owned(), "--listen".to_owned(), hub_address.to_string()];
        arguments.extend(place);
        arguments.extend(self.clock_arguments());
        let hub = self.program("gatehouse-hub", arguments, "hub")?;
        hub.start().await?;
        wait_for(http, &format!("{hub_url}/healthz"), &hub, Duration::from_secs(20)).await?;
        for agent in &agents {
            agent.program.start().await?;
        }
        for agent in &agents {
            wait_for(http, &format!("{}/", agent.desk.address), &agent.program, Duration::from_secs(20)).await?;
        }
        let login = Login { name: "fay".into(), pin: PIN.into() };
        let finance = Arc::new(Desk::new(http.clone(), hub_url, login));
        Ok(Scene { hub, finance, agents, standins, business, hub_key })
    }

    async fn start_standins(&self, hub_url: &str, http: &reqwest::Client) -> anyhow::Result<(Vec<Program>, Business)> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let listen = || ["--listen".to_owned(), "127.0.0.1:0".to_owned()];
        let erp = [
            listen().to_vec(),
            vec!["--token".into(), ERP_TOKEN.into(), "--state".into(), file("erp-state.jsonl")],
            vec!["--effects-log".into(), file("erp-effects.jsonl")],
        ]
        .concat();
        let events = |token: &str| {
            [listen().to_vec(), vec!["--hub".into(), hub_url.into(), "--token".into(), token.into()]].concat()
        };
        let mut standins = Vec::new();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for (name, arguments) in [("erp", erp), ("wms", events(WMS_TOKEN)), ("tms", events(TMS_TOKEN))] {
            let program = self.program(&format!("gatehouse-standin-{name}"), arguments, name)?;
            addresses.push(program.start_until_ready().await?);
            standins.push(program);
        }
        let url = |i: usize| format!("http://{}", addresses[i]);
        Ok((standins, Business { http: http.clone(), erp: url(0), wms: url(1), tms: url(2) }))
    }

    fn write_hub_config(&self, erp: &str, pin: &str) -> anyhow::Result<PathBuf> {
        let hash = |token: &str| hex::encode(Sha256::digest(token.as_bytes()));
        fs::write(self.folder.join("hub/erp-token"), ERP_TOKEN)?;
        let people = [("fay", "finance"), ("ben", "finance"), ("dan", "dispatch"), ("ada", "admin")]
            .map(|(name, role)| {
                format!("[[operators]]\nname = \"{name}\"\nrole = \"{role}\"\npin_argon2 = \"{pin}\"\n")
            })
            .concat();
        let text = format!(
            "[hub]\nname = \"hub\"\n\n[tls]\nplain_on_loopback = true\n\n[devices]\nwithout_certificate = true\n\n[erp]\nkind = \"rest\"\nurl = \"{erp}\"\ntoken_file = \"erp-token\"\npoll_ms = 20000\n\n{people}\n\
             [[tokens]]\nname = \"wms\"\nsha256 = \"{}\"\nscopes = [\"events:wms\"]\n\n\
             [[tokens]]\nname = \"tms\"\nsha256 = \"{}\"\nscopes = [\"events:tms\"]\n",
            hash(WMS_TOKEN),
            hash(TMS_TOKEN),
        );
        let path = self.folder.join("hub/hub.toml");
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    #[expect(clippy::too_many_arguments, reason = "called once; each is needed to write one configuration")]
    async fn prepare_agent(
        &self,
        store: StoreRef,
        depot: Option<&Depot>,
        plan: &Plan,
        hub: SocketAddr,
        hub_key: &str,
        pin: &str,
        database: &str,
        http: &reqwest::Client,
    ) -> anyhow::Result<Agent> {
        let name = store.name.clone();
        let folder = self.folder.join(&name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let line = Line::lay(hub).await?;
        let page = free_port()?;
        let text = match (depot, &store.site, &store.vehicle) {
            (Some(depot), Some(site), _) => self.gateway_config(&name, site, depot, plan, pin),
            (_, _, Some(vehicle)) => self.vehicle_config(&name, vehicle, plan),
            _ => bail!("{name} is neither gateway nor vehicle"),
        };
        let text = format!(
            "{text}\n[hub]\nurl = \"http://{}\"\npublic_key = \"{hub_key}\"\n\n[page]\nlisten = \"{page}\"\n",
            line.address()
        );
        let config = folder.join("agent.toml");
        fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        let config = config.display().to_string();
        let agent_path = self.path_of("gatehouse-agent")?;
        let key = Program::ask(&agent_path, &["public-key", "--config", &config], None).await?;
        let mut add: Vec<String> =
            ["devices", "add", "--database", database, "--id", &name, "--public-key", key.trim()]
                .map(str::to_owned)
                .to_vec();
        add.extend(["--kind".to_owned(), store.kind.to_owned()]);
        match (&store.site, &store.vehicle) {
            (Some(site), _) => add.extend(["--site".to_owned(), site.clone()]),
            (_, Some(vehicle)) => {
                add.extend(["--site".to_owned(), home_of(plan, vehicle).to_owned()]);
                add.extend(["--vehicle".to_owned(), vehicle.clone()]);
            }
            _ => {}
        }
        let add: Vec<&str> = add.iter().map(String::as_str).collect();
        Program::ask(&self.path_of("gatehouse-hub")?, &add, None).await?;
        let mut arguments = vec!["run".to_owned(), "--config".to_owned(), config];
        arguments.extend(self.clock_arguments());
        let program = self.program("gatehouse-agent", arguments, &name)?;
        let login = Login { name: "sam".into(), pin: PIN.into() };
        let desk = Arc::new(Desk::new(http.clone(), format!("http://{page}"), login));
        Ok(Agent { program, line, desk, store })
    }

    fn gateway_config(&self, name: &str, site: &str, depot: &Depot, plan: &Plan, pin: &str) -> String {
        let doors = plan.doors.get(site).map(|doors| json!(doors).to_string()).unwrap_or_default();
        let (host, port) = &self.broker;
        let mut text = format!(
            "[device]\nid = \"{name}\"\nkind = \"gateway\"\nsite = \"{site}\"\nkey_file = \"device.key\"\n\n\
             [store]\npath = \"agent.db\"\n\n[mqtt]\nhost = \"{host}\"\nport = {port}\n\
             client_id = \"{name}-{}\"\n\n\
             [site]\nname = \"{}\"\ngeofence = {{ lat = {}, lon = {}, radius_m = {:.1} }}\ndoors = {doors}\n\n\
             [[operators]]\nname = \"sam\"\nrole = \"supervisor\"\npin_argon2 = \"{pin}\"\n\n\
             [[operators]]\nname = \"kim\"\nrole = \"supervisor\"\npin_argon2 = \"{pin}\"\n",
            std::process::id(),
            depot.name,
            depot.lat,
            depot.lon,
            depot.radius_m,
        );
        let topics: [(&str, &str, &str, &str); 5] = [
            ("door/+", "door", "{ segment = 4 }", "value = \"/open\""),
            ("bay/+", "occupancy", "{ segment = 4 }", "value = \"/occupied\"\nvehicle = \"/vehicle\""),
            ("scan/+", "scan", "\"/order\"", "line = \"/line\"\nquantity = \"/quantity\"\nstep = { segment = 4 }"),
            ("seal/+", "seal", "{ segment = 4 }", "value = \"/intact\"\nnumber = \"/number\""),
            ("papers", "documents", "\"/order\"", "value = \"/complete\""),
        ];
        for (filter, kind, subject, rest) in topics {
            text.push_str(&format!(
                "\n[[topics]]\nfilter = \"depots/{site}/{filter}\"\ndecoder = \"json\"\nkind = \"{kind}\"\n\
                 subject = {subject}\nid = \"/id\"\ntime = \"/at\"\n{rest}\n"
            ));
        }
        text.push_str(&positions(site));
        text
    }

    fn vehicle_config(&self, name: &str, vehicle: &str, plan: &Plan) -> String {
        let home = home_of(plan, vehicle);
        let (host, port) = &self.broker;
        let text = format!(
            "[device]\nid = \"{name}\"\nkind = \"vehicle\"\nsite = \"{home}\"\nvehicle = \"{vehicle}\"\n\
             key_file = \"device.key\"\n\n[store]\npath = \"agent.db\"\n\n[mqtt]\nhost = \"{host}\"\nport = {port}\n\
             client_id = \"{name}-{}\"\n\n[site]\nname = \"bus {vehicle}\"\n",
            std::process::id(),
        );
        text + &positions("unit")
    }
}

/// The depot that a vehicle's first order leaves from.
fn home_of<'a>(plan: &'a Plan, vehicle: &str) -> &'a str {
    plan.orders.iter().find(|o| o.vehicle == vehicle).map_or("D1", |o| o.site.as_str())
}

fn positions(place: &str) -> String {
    format!("\n[[topics]]\nfilter = \"owntracks/{place}/+\"\ndecoder = \"owntracks\"\nid = \"/_id\"\n")
}

/// Writes the plan with its stores for the checker.
/// # Errors
/// If the file cannot be written.
pub fn write_plan(folder: &Path, plan: &Plan, scene: &Scene) -> anyhow::Result<()> {
    let mut value = serde_json::to_value(plan)?;
    value["stores"] = serde_json::to_value(scene.stores())?;
    value["hub_public_key"] = json!(scene.hub_key);
    value["start"] = json!(plan.moments.start.to_string());
    value["effects_log"] = json!("erp-effects.jsonl");
    let pages: BTreeMap<&str, &str> =
        scene.agents.iter().map(|a| (a.store.name.as_str(), a.desk.address.as_str())).collect();
    value["pages"] = serde_json::to_value(pages)?;
    let path = folder.join("plan.json");
    fs::write(&path, serde_json::to_string_pretty(&value)?).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::plan::{Wish, draw};

    const KEY: &str = "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=";
    const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$YzJlZGU0YjA1NGU2ZmFhMjQ0ZjI2YjhkZGM4ZWQwYTY";

    fn ground(folder: &Path) -> (Ground, Day, Plan) {
        let day = Day::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/buses")).unwrap();
        let plan = draw(&day, Wish { seed: 1, speed: 60.0, outage_minutes: 120, people: true }).unwrap();
        let pace = Pace { start: plan.moments.start, real_start_ms: 0, speed: 60.0 };
        let broker = ("127.0.0.1".to_owned(), 1883);
        (Ground { folder: folder.to_owned(), programs: folder.to_owned(), broker, pace }, day, plan)
    }

    #[test]
    fn the_configurations_that_the_demo_writes_are_ones_that_the_agents_take() {
        let folder = tempfile::tempdir().unwrap();
        let (ground, day, plan) = ground(folder.path());
        let hub = format!(
            "\n[hub]\nurl = \"http://127.0.0.1:1\"\npublic_key = \"{KEY}\"\n\n[page]\nlisten = \"127.0.0.1:2\"\n"
        );
        let mut texts = vec![ground.vehicle_config("unit-1", &plan.unit_vehicle, &plan)];
        for (site, depot) in &day.depots {
            texts.push(ground.gateway_config("gw", site, depot, &plan, HASH));
        }
        for text in texts {
            let whole = text + &hub;
            if let Err(problems) = gatehouse_agent::config::parse(&whole, folder.path()) {
                panic!("{problems:?} in\n{whole}");
            }
        }
    }
}
