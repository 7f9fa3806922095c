use bursar_money::Currency;
use secrecy::ExposeSecret;
use serde_json::json;

use super::*;
use crate::provider::{
    BreakerSettings, BulkheadSettings, Currencies, Direction, Offer, RetryPolicy, naira,
};

/// Every secret is there, and is its own name.
fn all(name: &str) -> anyhow::Result<Option<SecretString>> {
    Ok(Some(name.to_owned().into()))
}

fn none(_: &str) -> anyhow::Result<Option<SecretString>> {
    Ok(None)
}

/// Only the secrets that the sandbox always had.
fn old(name: &str) -> anyhow::Result<Option<SecretString>> {
    let is_old = name.starts_with("BURSAR_SANDBOX_");
    Ok(is_old.then(|| name.to_owned().into()))
}

fn listed(list: Value) -> Variables {
    Variables {
        providers: Some(list),
        ..Variables::default()
    }
}

/// Where a provider is that speaks as the sandbox does.
fn access(provider: &ProviderSettings) -> &Access {
    match &provider.connector {
        ConnectorSettings::Sandbox(access) | ConnectorSettings::Cards(access) => access,
        ConnectorSettings::Providus(_) => panic!("{:?} speaks otherwise", provider.name),
    }
}

fn refusal(variables: &Variables, secrets: Secrets<'_>) -> String {
    match variables.settings(secrets) {
        Ok(_) => panic!("the settings are taken"),
        Err(error) => format!("{error:#}"),
    }
}

/// A whole entry means what it says, and one that says little gets the standard.
#[test]
fn an_entry_means_what_it_says() {
    let list = json!([
        {
            "name": "alpha",
            "kind": "sandbox",
            "url": "http://alpha.test:9000",
            "deadline_ms": 3000,
            "lookup_window_ms": 120_000,
            "give_up_ms": 600_000,
            "retry": "slow",
            "breaker": {
                "window_ms": 20_000, "minimum_calls": 10, "failure_percent": 40,
                "open_ms": 8000, "probes": 2
            },
            "bulkhead": {"acting": 20, "looking": 5},
            "directions": ["payout"],
            "currencies": {
                "EUR": {"min_minor": 100, "max_minor": 500_000, "cost_basis_points": 25, "cost_fixed_minor": 10},
                "NGN": {}
            }
        },
        {"name": "beta", "url": "https://beta.test"}
    ]);
    let providers = listed(list).settings(&all).expect("the settings are right");
    let [alpha, beta] = &providers[..] else {
        panic!("two providers");
    };
    assert_eq!(alpha.name.as_str(), "alpha");
    assert_eq!(access(alpha).deadline, Duration::from_secs(3));
    assert_eq!(access(alpha).terms.lookup_window, Duration::from_secs(120));
    assert_eq!(access(alpha).terms.give_up_after, Duration::from_secs(600));
    let key = access(alpha).api_key.expose_secret();
    assert_eq!(key, "BURSAR_PROVIDER_ALPHA_API_KEY");
    assert_eq!(alpha.guard.retry, RetryPolicy::Slow);
    assert_eq!(
        alpha.guard.breaker,
        BreakerSettings {
            window: Duration::from_secs(20),
            minimum_calls: 10,
            failure_percent: 40,
            open_for: Duration::from_secs(8),
            probes: 2,
        }
    );
    let bulkhead = BulkheadSettings {
        acting: 20,
        looking: 5,
    };
    assert_eq!(alpha.guard.bulkhead, bulkhead);
    assert_eq!(alpha.guard.offer.directions, [Direction::Payout]);
    let Currencies::Only(tariffs) = &alpha.guard.offer.currencies else {
        panic!("alpha takes only some currencies");
    };
    let codes: Vec<_> = tariffs.keys().map(|currency| currency.code()).collect();
    assert_eq!(codes, ["EUR", "NGN"]);
    assert_eq!(beta.guard.breaker, BreakerSettings::default());
    assert_eq!(beta.guard.offer, Offer::default());
    assert_eq!(access(beta).deadline, Duration::from_secs(5));
}

/// The sandbox's own variables make a provider, and what an entry of its name
/// leaves out comes from them.
#[test]
fn the_sandbox_variables_still_count() {
    let variables = |providers| Variables {
        providers,
        sandbox_url: Some("http://sandbox.test".to_owned()),
        sandbox_deadline_ms: Some(1_234),
        ..Variables::default()
    };
    let alone = variables(None)
        .settings(&old)
        .expect("the settings are right");
    assert_eq!(alone.len(), 1);
    assert_eq!(alone[0].name.as_str(), "sandbox");
    assert_eq!(access(&alone[0]).deadline, Duration::from_millis(1_234));
    let key = access(&alone[0]).api_key.expose_secret();
    assert_eq!(key, "BURSAR_SANDBOX_API_KEY");

    let list = json!([{"name": "sandbox", "retry": "fast"}]);
    let listed = variables(Some(list))
        .settings(&old)
        .expect("the settings are right");
    assert_eq!(listed.len(), 1);
    assert_eq!(access(&listed[0]).deadline, Duration::from_millis(1_234));
    assert_eq!(listed[0].guard.retry, RetryPolicy::Fast);
}

/// The sandbox's own variables have the bounds that fields have, at which a time can
/// still be counted from now; what is wrong is named, and a field goes before its
/// variable, which then says nothing.
#[test]
fn the_sandbox_variables_have_bounds() {
    let with = |set: fn(&mut Variables, u64), ms, more: Value| {
        let mut entry = json!({"name": "sandbox", "url": "http://sandbox.test"});
        let (Some(fields), Value::Object(more)) = (entry.as_object_mut(), more) else {
            panic!("objects");
        };
        fields.extend(more);
        let mut variables = listed(json!([entry]));
        set(&mut variables, ms);
        variables
    };
    type Set = fn(&mut Variables, u64);
    let cases: [(Set, &str, &str, u64, u64); 3] = [
        (
            |variables, ms| variables.sandbox_deadline_ms = Some(ms),
            "BURSAR_SANDBOX_DEADLINE_MS",
            "deadline_ms",
            100,
            60_000,
        ),
        (
            |variables, ms| variables.sandbox_lookup_window_ms = Some(ms),
            "BURSAR_SANDBOX_LOOKUP_WINDOW_MS",
            "lookup_window_ms",
            1_000,
            2_592_000_000,
        ),
        (
            |variables, ms| variables.sandbox_give_up_ms = Some(ms),
            "BURSAR_SANDBOX_GIVE_UP_MS",
            "give_up_ms",
            1_000,
            2_592_000_000,
        ),
    ];
    for (set, variable, field, least, most) in cases {
        for ms in [0, least - 1, most + 1, u64::MAX] {
            let told = refusal(&with(set, ms, json!({})), &all);
            assert!(told.contains(&format!("`{variable}`")), "{ms}: {told}");
            let ignored = with(set, ms, json!({field: least})).settings(&all);
            assert!(ignored.is_ok(), "{ms}: {ignored:?}");
        }
        let told = refusal(&with(set, least, json!({field: most + 1})), &all);
        assert!(told.contains(&format!("`{field}`")), "{told}");
        for ms in [least, most] {
            let taken = with(set, ms, json!({})).settings(&all).expect("in bounds");
            let later = bursar_server::now() + access(&taken[0]).terms.give_up_after;
            assert!(later > bursar_server::now());
        }
    }
}

/// Outside development, card acquirers and payers to bank accounts are reached by https;
/// the sandbox, to which nothing secret of people's goes, need not be.
#[test]
fn what_people_trust_us_with_goes_over_https() {
    let settings = |kind: &str, scheme: &str| {
        let mut entry = json!({
            "name": "alpha", "kind": kind, "url": format!("{scheme}://alpha.test"),
        });
        if kind == "providus" {
            entry["email"] = json!("merchant@example.com");
        }
        listed(json!([entry])).settings(&all).expect("right")
    };
    for kind in ["sandbox", "cards", "providus"] {
        for scheme in ["http", "https"] {
            let settings = settings(kind, scheme);
            require_closed(Environment::Development, &settings).expect("anything goes");
            let told = require_closed(Environment::Production, &settings);
            let is_refused = kind != "sandbox" && scheme == "http";
            assert_eq!(told.is_err(), is_refused, "{kind} by {scheme}: {told:?}");
            if let Err(told) = told {
                let told = told.to_string();
                assert!(told.contains("alpha") && told.contains("https"), "{told}");
            }
        }
    }
}

/// A card acquirer takes money in and is told what to charge; it pays nothing out.
#[test]
fn a_card_acquirer_only_charges() {
    let list = json!([{"name": "cards", "kind": "cards", "url": "http://cards.test"}]);
    let providers = listed(list).settings(&all).expect("the settings are right");
    let [cards] = &providers[..] else {
        panic!("one provider");
    };
    assert!(matches!(cards.connector, ConnectorSettings::Cards(_)));
    let key = access(cards).api_key.expose_secret();
    assert_eq!(key, "BURSAR_PROVIDER_CARDS_API_KEY");
    assert_eq!(cards.guard.offer.directions, [Direction::Charge]);
    assert!(cards.guard.offer.needs_payment_method);
}

/// Without any of the variables there is no provider; a text counts as the list
/// that it holds.
#[test]
fn the_list_may_be_a_text() {
    let settings = |variables: Variables| variables.settings(&all).expect("right").len();
    assert_eq!(settings(Variables::default()), 0);
    assert_eq!(settings(listed(json!(""))), 0);
    assert_eq!(settings(listed(json!([]))), 0);
    let text = r#"[{"name": "alpha", "url": "http://alpha.test"}]"#;
    assert_eq!(settings(listed(json!(text))), 1);
}

/// What cannot be meant is refused, and the message names what is wrong.
#[test]
fn what_cannot_be_meant_is_refused() {
    let one = |more: Value| {
        let mut entry = json!({"name": "alpha", "url": "http://alpha.test"});
        let (Some(entry_map), Value::Object(more)) = (entry.as_object_mut(), more) else {
            panic!("objects");
        };
        entry_map.extend(more);
        listed(json!([entry]))
    };
    let cases = [
        (json!({"name": "Alpha"}), "a provider's name"),
        (json!({"kind": "acme"}), "acme"),
        (json!({"url": "ftp://alpha.test"}), "http or https"),
        (json!({"deadline_ms": 10}), "deadline_ms"),
        (json!({"lookup_window_ms": 0}), "lookup_window_ms"),
        (json!({"give_up_ms": 0}), "give_up_ms"),
        (json!({"retry": "hasty"}), "hasty"),
        (
            json!({"breaker": {"failure_percent": 0}}),
            "breaker.failure_percent",
        ),
        (json!({"breaker": {"probes": 0}}), "breaker.probes"),
        (json!({"breaker": {"rate": 1}}), "rate"),
        (json!({"bulkhead": {"acting": 0}}), "bulkhead.acting"),
        (
            json!({"bulkhead": {"acting": 4, "looking": 5}}),
            "bulkhead.looking",
        ),
        (json!({"directions": ["sideways"]}), "sideways"),
        (
            json!({"kind": "cards", "directions": ["charge", "payout"]}),
            "directions",
        ),
        (json!({"email": "merchant@example.com"}), "email"),
        (json!({"kind": "providus"}), "email"),
        (
            json!({"kind": "providus", "email": "m@example.com", "directions": ["charge"]}),
            "directions",
        ),
        (
            json!({"kind": "providus", "email": "m@example.com", "currencies": {"EUR": {}}}),
            "currencies",
        ),
        (json!({"currencies": {}}), "currencies"),
        (json!({"currencies": {"EURO": {}}}), "EURO"),
        (
            json!({"currencies": {"EUR": {"min_minor": 0}}}),
            "min_minor",
        ),
        (
            json!({"currencies": {"EUR": {"min_minor": 9, "max_minor": 8}}}),
            "max_minor",
        ),
        (
            json!({"currencies": {"EUR": {"cost_basis_points": 10_001}}}),
            "cost_basis_points",
        ),
        (
            json!({"currencies": {"EUR": {"cost_fixed_minor": -1}}}),
            "cost_fixed_minor",
        ),
        (json!({"secret": "s"}), "secret"),
    ];
    for (more, named) in cases {
        let told = refusal(&one(more.clone()), &all);
        assert!(told.contains(named), "{more}: {told}");
    }
    let told = refusal(&one(json!({})), &none);
    assert!(told.contains("BURSAR_PROVIDER_ALPHA_API_KEY"), "{told}");
    let told = refusal(&listed(json!([{"name": "alpha"}])), &all);
    assert!(told.contains("`url` is missing"), "{told}");
    let twice = json!({"name": "alpha", "url": "http://alpha.test"});
    let told = refusal(&listed(json!([twice, twice])), &all);
    assert!(told.contains("twice"), "{told}");
    let told = refusal(&listed(json!("alpha")), &all);
    assert!(told.contains("BURSAR_PROVIDERS"), "{told}");
}

/// A payer to bank accounts pays out in naira and does nothing else; it is waited for
/// longer than one that can be asked what it did.
#[test]
fn a_payer_to_bank_accounts_pays_out() {
    let list = json!([{
        "name": "providus", "kind": "providus", "url": "https://providus.test",
        "email": "merchant@example.com",
        "currencies": {"NGN": {"min_minor": 10_000, "cost_fixed_minor": 1_050}},
    }]);
    let providers = listed(list).settings(&all).expect("right");
    let [provider] = providers.as_slice() else {
        panic!("{providers:?}");
    };
    let ConnectorSettings::Providus(settings) = &provider.connector else {
        panic!("{provider:?}");
    };
    assert_eq!(settings.xpress.email, "merchant@example.com");
    assert_eq!(settings.xpress.deadline, Duration::from_secs(20));
    assert_eq!(settings.terms.lookup_window, Duration::from_secs(3_600));
    let offer = &provider.guard.offer;
    assert!(offer.needs_payout_account);
    assert_eq!(offer.directions, [Direction::Payout]);
    assert!(offer.takes(naira()));
    assert!(!offer.takes(Currency::parse("EUR").expect("a currency")));
    let shown = format!("{settings:?}");
    assert!(!shown.contains("PASSWORD"), "{shown}");
}
