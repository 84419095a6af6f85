//! Interchanges of partners, and what is read in them.

use gatehouse_common::time::UtcMs;
use gatehouse_hub::partners::edi::{
    self, FILE_MAX_BYTES, answer,
    mapping::{Terms, words},
    when::Ahead,
};

/// A file: refused with a place, or read; then what it says can be said, and the answer to it can be read.
pub(super) fn interchange(bytes: &[u8]) {
    let read = match edi::read(bytes) {
        Err(fault) => return assert!(!fault.detail.is_empty() && fault.segment > 0, "refused without a place"),
        Ok(read) => read,
    };
    assert!(bytes.len() <= FILE_MAX_BYTES, "a file that is too large was read");
    for interchange in &read {
        for fault in interchange.faults() {
            assert!(!fault.detail.is_empty() && fault.segment > 0, "a fault without a place");
        }
        for departed in [true, false] {
            let departed = |_: &str| departed;
            let terms = Terms { ahead: Ahead(-840), departed: &departed };
            for group in &interchange.groups {
                // Faulty ones too: nothing there may rely on the checks before it.
                group.messages.iter().for_each(|message| drop(words(message, &terms)));
            }
        }
        // Names and numbers in it are the sender's; a writer refuses what it cannot write.
        if let Ok(Some(text)) = answer::to(interchange, 1, UtcMs(1_425_974_400_000)) {
            let again = edi::read(text.as_bytes());
            let good = again.is_ok_and(|again| again.iter().all(|i| i.faults().next().is_none()));
            assert!(good, "an answer that cannot be read: {text}");
        }
    }
}

fn enveloped(group: &str, segments: &str) -> Vec<u8> {
    let count = segments.matches('~').count() + 1;
    format!(
        "ISA*00*          *00*          *ZZ*CARRIER        *ZZ*HUB            *261123*2000*U*00401*000000007*0*P*>~\nGS*{group}*CARRIER*HUB*20261123*2000*7*X*004010~\n{segments}SE*{count}*0001~\nGE*1*7~\nIEA*1*000000007~\n"
    )
    .into_bytes()
}

pub(super) fn x12() -> Vec<Vec<u8>> {
    vec![
        enveloped("QM", "ST*214*0001~B10*PRO1*DSP1001*ABCD~LX*1~AT7*SD*AI***20261123*1958*UT~MS1*DAYTON*OH*US~"),
        enveloped("GF", "ST*990*0001~B1*ABCD*DSP1001*20261123*D~V9*BCS~"),
        enveloped(
            "SM",
            "ST*204*0001~B2**ABCD**DSP1001**PP~B2A*00~S5*1*CL~G62*37*20261124*X*0800*UT~N1*SF*DEPOT*92*D1~",
        ),
        enveloped("SW", "ST*945*0001~W06*J*SO1*20261123*S1~N1*ST*ADA*92*C1~LX*1~W12*CP*10*9*1*EA**VN*P1~W03*9~"),
        enveloped(
            "SH",
            "ST*856*0001~BSN*00*SH1*20261123*1958~HL*1**S~HL*2*1*O~PRF*SO1~HL*3*2*I~LIN**VN*P1~SN1**9*EA~CTT*3~",
        ),
        enveloped("FA", "ST*997*0001~AK1*SM*1~AK2*204*0001~AK3*B2*2**8~AK4*4**5~AK5*R*5~AK9*R*1*1*0~"),
        enveloped("PI", "ST*275*0001~BIN*7*~*>\n~*>~"),
    ]
}

pub(super) fn edifact() -> Vec<Vec<u8>> {
    let message = |text: &str| format!("UNA:+.? 'UNB+UNOC:3+A:14+B:14+261123:2000+7++++1'{text}UNZ+1+7'").into_bytes();
    vec![
        message(
            "UNH+1+IFTSTA:D:01B:UN'BGM+23+N1+9'CNI+1+DSP?+1'STS+1+25+17'RFF+BM:B1'DTM+334:202611231958:203'LOC+175+DEKOL'EQD+TE+T1'SEL+S1+CA+2'UNT+10+1'",
        ),
        message(
            "UNH+1+DESADV:D:96A:UN'BGM+351+D1+9'DTM+137:20261123:102'RFF+ON:SO1'CPS+1'LIN+1++P1:SA'QTY+12:9:PCE'QVR+-1:21++AS'UNT+9+1'",
        ),
        message("UNH+1+CONTRL:D:3:UN'UCI+7+A:14+B:14+7'UCM+1+IFTSTA:D:01B:UN+4+13+UNT'UCS+3'UCD+39+2:1'UNT+6+1'"),
        b"UNB+UNOC:3+A+B+261123:2000+7'UNG+IFTSTA+A+B+261123:2000+1+UN+D:01B'UNH+1+IFTSTA:D:01B:UN'BGM+23'CNI+1'UNT+4+1'UNE+1+1'UNZ+1+7'".to_vec(),
    ]
}
