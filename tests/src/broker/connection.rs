//! One client's connection: bytes in, bytes out.
//!
//! In: the client's packets. Out: what [`Sessions`](super::sessions::Sessions) has for it.
//! Reading and writing go on side by side, so a client that is slow to read can still be heard;
//! two sides that each wait for the other to read first would otherwise stand still for ever.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, LastWill, Packet, PubAck, Publish, SubAck, UnsubAck,
};
use rumqttc::mqttbytes::{Error, Protocol, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Shared;
use super::filter::topic_is_valid;
use super::sessions::{Admission, Claim, Message};

/// How much one write gathers before it leaves the lock and meets the socket.
const WRITE_BYTES: usize = 64 * 1024;
/// Answers that may wait to be written before reading stops.
const ANSWERS_MAX: usize = 1024;
/// What a connection holds back when the budget is used up, before it stops reading altogether.
/// Reading on for a while matters: behind the publication may stand the acknowledgement that makes
/// room, or the ping that keeps the client.
const HELD_BACK_MESSAGES_MAX: usize = 1000;
const HELD_BACK_BYTES_MAX: usize = 1024 * 1024;

/// How a connection came to its end.
enum End {
    /// The client said goodbye; its will is void.
    Disconnect,
    /// Anything else, with the reason for the log.
    Broken(String),
    /// The whole broker stops.
    Stop,
}

/// Serves one client from CONNECT to the end.
pub(super) async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
) {
    // Small packets must leave at once; without this an acknowledgement waits for the next one.
    let _ = socket.set_nodelay(true);
    let (reader, mut writer) = socket.into_split();
    let mut incoming = Incoming { reader, bytes: BytesMut::new(), packet_bytes_max: shared.options.packet_bytes_max };
    let connect = tokio::select! {
        _ = stopping.changed() => return,
        connect = tokio::time::timeout(shared.options.connect_wait_max, incoming.connect()) => connect,
    };
    let connect = match connect {
        Ok(Ok(connect)) => connect,
        Ok(Err(error)) => {
            debug!(%peer, %error, "a client was closed before it had connected");
            if let Error::InvalidProtocolLevel(_) = error {
                let _ = refuse(&mut writer, ConnectReturnCode::RefusedProtocolVersion).await;
            }
            return;
        }
        Err(_) => return debug!(%peer, "a client was closed because it sent no CONNECT in time"),
    };
    if let Some(code) = refusal(&connect, &shared) {
        debug!(%peer, client.id = connect.client_id, ?code, "a client was refused");
        let _ = refuse(&mut writer, code).await;
        return;
    }
    let client_id = match connect.client_id.as_str() {
        "" => format!("anonymous-{peer}"),
        given => given.to_owned(),
    };
    let (to_write, close) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (claim, present) = {
        // Held over both steps: a cut in between would find no connection to close.
        let cut = shared.cut();
        if cut.contains(&client_id) {
            return;
        }
        shared.sessions().claim(&client_id, connect.clean_session, to_write.clone(), close.clone())
    };
    debug!(%peer, client.id = client_id, present, "a client connected");

    let (answer, answers) = mpsc::channel(ANSWERS_MAX);
    let talk = async {
        let mut hello = BytesMut::new();
        if let Err(end) = encode(&Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, present)), &mut hello) {
            return end;
        }
        if let Err(error) = writer.write_all(&hello).await {
            return End::Broken(error.to_string());
        }
        tokio::select! {
            end = read(&mut incoming, &shared, &claim, connect.keep_alive, answer) => end,
            end = write(&mut writer, &shared, &claim, &to_write, answers) => end,
        }
    };
    let end = tokio::select! {
        end = talk => end,
        () = close.notified() => End::Broken("taken over by another connection, or cut".to_owned()),
        _ = stopping.changed() => End::Stop,
    };
    // The will belongs to the connection, so the loser of a takeover speaks it too.
    let mut sessions = shared.sessions();
    sessions.release(&claim);
    match (end, connect.last_will) {
        (End::Broken(reason), will) => {
            debug!(%peer, client.id = client_id, reason, "a client's connection broke");
            if let Some(will) = will.filter(|will| topic_is_valid(&will.topic)) {
                sessions.publish_will(&will_message(will));
            }
        }
        (End::Disconnect | End::Stop, _) => debug!(%peer, client.id = client_id, "a client left"),
    }
}

fn refusal(connect: &Connect, shared: &Shared) -> Option<ConnectReturnCode> {
    if connect.protocol != Protocol::V4 {
        return Some(ConnectReturnCode::RefusedProtocolVersion);
    }
    if connect.client_id.is_empty() && !connect.clean_session {
        return Some(ConnectReturnCode::BadClientId);
    }
    let (username, password) = shared.options.login.as_ref()?;
    let shown = connect.login.as_ref();
    let right = shown.is_some_and(|login| login.username == *username && login.password == *password);
    (!right).then_some(ConnectReturnCode::BadUserNamePassword)
}

async fn refuse(writer: &mut OwnedWriteHalf, code: ConnectReturnCode) -> std::io::Result<()> {
    let mut bytes = BytesMut::new();
    if encode(&Packet::ConnAck(ConnAck::new(code, false)), &mut bytes).is_ok() {
        writer.write_all(&bytes).await?;
    }
    writer.shutdown().await
}

fn will_message(will: LastWill) -> Arc<Message> {
    // QoS 2 is not spoken here; at least once is the nearest promise we can keep.
    let qos = if will.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    Arc::new(Message { topic: will.topic, payload: will.message, qos, retain: will.retain })
}

fn encode(packet: &Packet, bytes: &mut BytesMut) -> Result<(), End> {
    packet.write(bytes, usize::MAX).map(drop).map_err(|error| End::Broken(error.to_string()))
}

/// The client's byte stream, cut into packets.
struct Incoming {
    reader: OwnedReadHalf,
    bytes: BytesMut,
    packet_bytes_max: usize,
}

impl Incoming {
    async fn connect(&mut self) -> Result<Connect, Error> {
        loop {
            match self.next()? {
                Some(Packet::Connect(connect)) => return Ok(connect),
                Some(_) => return Err(Error::MalformedPacket),
                None => self.more().await?,
            }
        }
    }

    /// A packet that is here already as a whole.
    fn next(&mut self) -> Result<Option<Packet>, Error> {
        match Packet::read(&mut self.bytes, self.packet_bytes_max) {
            Ok(packet) => Ok(Some(packet)),
            Err(Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn more(&mut self) -> std::io::Result<()> {
        match self.reader.read_buf(&mut self.bytes).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Publications that wait for room, oldest first; counted where an operator sees them.
struct HeldBack<'a> {
    shared: &'a Shared,
    waiting: VecDeque<(u16, Arc<Message>)>,
    bytes: usize,
}

impl HeldBack<'_> {
    fn push(&mut self, packet_id: u16, message: Arc<Message>) {
        self.bytes += message.payload.len();
        self.waiting.push_back((packet_id, message));
        self.shared.held_back.fetch_add(1, Ordering::Relaxed);
    }

    fn pop(&mut self) {
        if let Some((_, message)) = self.waiting.pop_front() {
            self.bytes -= message.payload.len();
            self.shared.held_back.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= HELD_BACK_MESSAGES_MAX || self.bytes >= HELD_BACK_BYTES_MAX
    }
}

impl Drop for HeldBack<'_> {
    // None of these was acknowledged, so their publisher still has them.
    fn drop(&mut self) {
        self.shared.held_back.fetch_sub(self.waiting.len(), Ordering::Relaxed);
    }
}

async fn read(
    incoming: &mut Incoming,
    shared: &Shared,
    claim: &Claim,
    keep_alive_s: u16,
    answer: mpsc::Sender<Packet>,
) -> End {
    let room = shared.sessions().room();
    let mut held_back = HeldBack { shared, waiting: VecDeque::new(), bytes: 0 };
    // The standard's one and a half; zero switches it off.
    let silence_max = Duration::from_millis(u64::from(keep_alive_s) * 1500);
    let mut heard_at = Instant::now();
    loop {
        // Listen for room before asking for it, or the news could slip through in between.
        let mut room_made = std::pin::pin!(room.notified());
        room_made.as_mut().enable();
        while let Some((packet_id, message)) = held_back.waiting.front() {
            let packet_id = *packet_id;
            let admission = shared.sessions().publish(claim, message);
            match admission {
                Admission::NoRoom => break,
                Admission::NotYours => return End::Broken("taken over".to_owned()),
                Admission::Taken => held_back.pop(),
            }
            if packet_id != 0 && answer.send(Packet::PubAck(PubAck::new(packet_id))).await.is_err() {
                return End::Broken("writing has ended".to_owned());
            }
        }
        if !held_back.is_full() {
            match incoming.next() {
                Ok(Some(packet)) => {
                    let reply = match understand(packet, shared, claim, &mut held_back) {
                        Ok(reply) => reply,
                        Err(end) => return end,
                    };
                    if let Some(reply) = reply
                        && answer.send(reply).await.is_err()
                    {
                        return End::Broken("writing has ended".to_owned());
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => return End::Broken(error.to_string()),
            }
        } else {
            // We are the ones who do not listen: the silence is not the client's.
            heard_at = Instant::now();
        }
        let full = held_back.is_full();
        tokio::select! {
            () = room_made, if !held_back.waiting.is_empty() => {}
            more = incoming.more(), if !full => match more {
                Ok(()) => heard_at = Instant::now(),
                Err(error) => return End::Broken(error.to_string()),
            },
            () = tokio::time::sleep_until(heard_at + silence_max), if !full && keep_alive_s > 0 => {
                return End::Broken(format!("silent for more than {silence_max:?}"));
            }
        }
    }
}

/// Acts on one packet; gives the answer to it, if it has one at once.
fn understand(
    packet: Packet,
    shared: &Shared,
    claim: &Claim,
    held_back: &mut HeldBack<'_>,
) -> Result<Option<Packet>, End> {
    match packet {
        Packet::Publish(publish) => {
            check(&publish, claim)?;
            held_back.push(publish.pkid, Message::received(&publish));
            Ok(None)
        }
        Packet::PubAck(ack) => {
            shared.sessions().acknowledged(claim, ack.pkid);
            Ok(None)
        }
        Packet::Subscribe(subscribe) => {
            let codes = shared.sessions().subscribe(claim, subscribe.filters);
            Ok(Some(Packet::SubAck(SubAck::new(subscribe.pkid, codes))))
        }
        Packet::Unsubscribe(unsubscribe) => {
            shared.sessions().unsubscribe(claim, &unsubscribe.topics);
            Ok(Some(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid))))
        }
        Packet::PingReq => Ok(Some(Packet::PingResp)),
        Packet::Disconnect => Err(End::Disconnect),
        other => Err(End::Broken(format!("a client must not send {other:?} here"))),
    }
}

fn check(publish: &Publish, claim: &Claim) -> Result<(), End> {
    if publish.qos == QoS::ExactlyOnce {
        warn!(
            client.id = claim.client_id,
            topic = publish.topic,
            "the test broker does not speak QoS 2 and closes the connection; publish with QoS 1"
        );
        return Err(End::Broken("published with QoS 2".to_owned()));
    }
    if !topic_is_valid(&publish.topic) {
        return Err(End::Broken(format!("published to {:?}, which is not a topic", publish.topic)));
    }
    Ok(())
}

async fn write(
    writer: &mut OwnedWriteHalf,
    shared: &Shared,
    claim: &Claim,
    to_write: &Notify,
    mut answers: mpsc::Receiver<Packet>,
) -> End {
    let mut bytes = BytesMut::with_capacity(WRITE_BYTES);
    loop {
        while bytes.len() < WRITE_BYTES {
            let Ok(answer) = answers.try_recv() else { break };
            if let Err(end) = encode(&answer, &mut bytes) {
                return end;
            }
        }
        let Some(packets) = shared.sessions().take(claim, WRITE_BYTES) else {
            return End::Broken("taken over".to_owned());
        };
        for packet in packets {
            if let Err(end) = encode(&Packet::Publish(packet), &mut bytes) {
                return end;
            }
        }
        if bytes.is_empty() {
            tokio::select! {
                () = to_write.notified() => {}
                Some(answer) = answers.recv() => {
                    if let Err(end) = encode(&answer, &mut bytes) {
                        return end;
                    }
                }
            }
            continue;
        }
        if let Err(error) = writer.write_all(&bytes).await {
            return End::Broken(error.to_string());
        }
        bytes.clear();
    }
}
