//! Exports over HTTP: whole, cut off and gone on with, and for those alone who see all.

use super::*;

async fn export(
    desk: &Desk,
    form: &str,
    login: &str,
    more: &[(header::HeaderName, &str)],
) -> (StatusCode, String, Vec<u8>) {
    let mut request = desk.http.get(format!("http://{}/v1/exports/{form}", desk.address));
    request = request.header(header::AUTHORIZATION, login);
    for (name, value) in more {
        request = request.header(name, *value);
    }
    let answer = request.send().await.unwrap();
    let tag = answer.headers().get(header::ETAG).map_or("", |tag| tag.to_str().unwrap()).to_owned();
    (answer.status(), tag, answer.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn a_download_that_was_cut_off_goes_on_with_the_same_bytes_though_the_store_has_changed() {
    let desk = Desk::new().await;
    desk.play();
    let dora = person("dora");
    for form in ["ocel-json", "ocel-sqlite", "xes-cases", "xes-dispatches", "epcis"] {
        let (status, tag, whole) = export(&desk, form, &dora, &[]).await;
        assert_eq!((status, whole.is_empty()), (StatusCode::OK, false), "{form}");
        let now = Clock::system().wall();
        desk.store
            .write_now(move |tx| {
                let mut order = crate::fixture::order(now);
                order.id = format!("SO-{}", rand::random::<u32>()).parse().unwrap();
                tx.put_order(&order, now)
            })
            .unwrap();
        let middle = whole.len() / 2;
        let from = format!("bytes={middle}-");
        let (status, again, rest) =
            export(&desk, form, &dora, &[(header::RANGE, &from), (header::IF_RANGE, &tag)]).await;
        assert_eq!((status, again), (StatusCode::PARTIAL_CONTENT, tag.clone()), "{form}");
        assert_eq!([&whole[..middle], &rest].concat(), whole, "{form}");
        let (_, _, first) = export(&desk, form, &dora, &[(header::RANGE, "bytes=0-9"), (header::IF_RANGE, &tag)]).await;
        assert_eq!(first, whole[..10]);
        let behind = format!("bytes={}-", whole.len());
        let (status, ..) = export(&desk, form, &dora, &[(header::RANGE, &behind), (header::IF_RANGE, &tag)]).await;
        assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
        // Of an export that nobody holds no rest can be had: it comes anew and whole.
        let (status, other, _) =
            export(&desk, form, &dora, &[(header::RANGE, &from), (header::IF_RANGE, "\"gone\"")]).await;
        assert_eq!((status, other == tag), (StatusCode::OK, false));
    }
    let (status, _, body) = export(&desk, "ocel-json", &dora, &[]).await;
    let log: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, log["events"].as_array().unwrap().is_empty()), (StatusCode::OK, false));
    // A file without a name is all that is left of them.
    let mine = |name: &str| name.starts_with("gatehouse-export-");
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    assert_eq!(left.filter(|file| file.file_name().to_str().is_some_and(mine)).count(), 0);
}

#[tokio::test]
async fn exports_are_for_those_who_see_all_and_in_forms_that_there_are() {
    let desk = Desk::new().await;
    assert_eq!(export(&desk, "ocel-json", &person("otto"), &[]).await.0, StatusCode::FORBIDDEN);
    assert_eq!(export(&desk, "pdf", &person("dora"), &[]).await.0, StatusCode::NOT_FOUND);
}
