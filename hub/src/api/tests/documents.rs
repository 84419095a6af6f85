//! Documents as files: whole, and for those who may see what they are about.

use gatehouse_common::document::Document;

use super::*;

#[tokio::test]
async fn a_case_and_a_dispatch_come_as_files_that_automerge_opens_to_those_who_may_see_them() {
    let desk = Desk::new().await;
    let scene = desk.play();
    for (things, id, others) in [("cases", scene.case, "dispatches"), ("dispatches", scene.dispatch, "cases")] {
        let path = format!("/v1/{things}/{id}/document");
        for login in [person("dora"), "Bearer board".to_owned()] {
            let request = desk.http.get(format!("http://{}{path}", desk.address));
            let answer = request.header(header::AUTHORIZATION, login).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/octet-stream");
            let named = answer.headers()[header::CONTENT_DISPOSITION].to_str().unwrap().to_owned();
            assert!(named.ends_with(&format!("{id}.automerge\"")), "{named}");
            let file = Document::load(&answer.bytes().await.unwrap()).unwrap();
            let (_, held) = desk.store.read_now(|r| r.document(&id)).unwrap().unwrap();
            assert_eq!(file.heads(), held.heads());
            assert!(file.entry_count() > 0);
        }
        assert_eq!(desk.get(&path, "").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(desk.get(&path, "Bearer wms").await.status, StatusCode::FORBIDDEN);
        // Otto sees another depot: to him there is none, as where he asks for what is said of it.
        for absent in [path.clone(), format!("/v1/{things}/{id}")] {
            let answer = desk.get(&absent, &person("otto")).await;
            assert_eq!((answer.status, answer.problem()), (StatusCode::NOT_FOUND, "not-found"), "{absent}");
        }
        for wrong in [format!("/v1/{others}/{id}/document"), format!("/v1/{things}/00/document")] {
            assert_eq!(desk.get(&wrong, &person("dora")).await.status, StatusCode::NOT_FOUND, "{wrong}");
        }
    }
}
