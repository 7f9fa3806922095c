//! A wallet service's process, its database and its users, over many kills.

use std::sync::Arc;

use bursar_aip::id::UserId;
use bursar_contracts::wallet::v1::ledger_service_client::LedgerServiceClient;
use bursar_contracts::wallet::v1::wallet_service_client::WalletServiceClient;
use bursar_contracts::wallet::v1::{BatchMode, CreateWalletRequest, Wallet};
use bursar_testkit::{TestDatabase, TestProcess, Tokens, with_token};

use crate::books::Books;
use crate::calls::{Call, deposit};
use crate::load::{Asked, Caller, Poster};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_bursar-wallet");
const WALLETS: usize = 5;
const FUNDS: i64 = 1_000_000_000;

/// A service that is started again and again on one database.
pub(crate) struct House {
    pub(crate) wallets: Arc<[Wallet]>,
    pub(crate) books: Books,
    tokens: Tokens,
}

impl House {
    /// Opens and fills some wallets in an empty database.
    pub(crate) async fn open(database: TestDatabase) -> Self {
        let mut house = Self {
            wallets: Arc::new([]),
            books: Books::new(database),
            tokens: Tokens::start().await,
        };
        let process = house.start(&[]).await;
        let mut wallets = Vec::new();
        for _ in 0..WALLETS {
            let request = CreateWalletRequest {
                currency_code: "EUR".to_owned(),
            };
            let token = house.tokens.user(UserId::generate());
            let response = WalletServiceClient::new(process.channel())
                .create_wallet(with_token(request, &token))
                .await
                .expect("a wallet is opened");
            wallets.extend(response.into_inner().wallet);
        }
        house.wallets = wallets.into();
        let deposits = house.wallets.iter().map(|wallet| deposit(wallet, FUNDS));
        let mut funding = Asked::new(Call::good(deposits.collect(), BatchMode::Atomic));
        funding
            .ask(&mut house.poster(&process))
            .await
            .expect("the wallets are filled");
        house.books.record(&[funding]);
        process.stop().await;
        house
    }

    /// Starts the service with these variables besides the usual ones.
    pub(crate) async fn start(&self, variables: &[(&str, &str)]) -> TestProcess {
        TestProcess::start(
            PROGRAM,
            "wallet",
            self.books.database(),
            &self.tokens,
            variables,
        )
        .await
    }

    pub(crate) fn poster(&self, process: &TestProcess) -> Poster {
        Poster {
            client: LedgerServiceClient::new(process.channel()),
            token: self.tokens.service("transaction"),
        }
    }

    /// Checks everything once all callers have their answers.
    pub(crate) async fn close_round(&mut self, callers: &[Caller]) {
        self.books.hold_answers(callers).await;
        for caller in callers {
            self.books.record(&caller.asked);
        }
        self.books.agree().await;
    }
}
