//! The accounts that a service can have without a password.

use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Account {
    System,
    LocalService,
    NetworkService,
}

const ACCOUNTS: [Account; 3] = [Account::System, Account::LocalService, Account::NetworkService];

impl Account {
    /// As the service control manager has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::System => "LocalSystem",
            Self::LocalService => r"NT AUTHORITY\LocalService",
            Self::NetworkService => r"NT AUTHORITY\NetworkService",
        }
    }

    /// As access lists have it.
    pub(super) fn in_lists(self) -> &'static str {
        match self {
            Self::System => "SY",
            Self::LocalService => "LS",
            Self::NetworkService => "NS",
        }
    }

    fn is_called(self, text: &str) -> bool {
        let name = self.name();
        let short = name.rsplit('\\').next().unwrap_or(name);
        [name, short].iter().any(|name| name.eq_ignore_ascii_case(text))
    }
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ACCOUNTS.into_iter().find(|account| account.is_called(text)).ok_or_else(|| {
            "this command knows LocalSystem, LocalService and NetworkService, which need no password: install without --user, then give it \
             another account in services.msc, or by `sc config landfall obj= NAME password= …`, which a later install leaves as it is"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_known_by_both_its_names_and_one_with_a_password_is_refused_with_what_to_do() {
        assert_eq!("localsystem".parse(), Ok(Account::System));
        assert_eq!(r"NT Authority\LocalService".parse(), Ok(Account::LocalService));
        assert_eq!("NetworkService".parse::<Account>().map(Account::in_lists), Ok("NS"));
        let refused = r"ACME\bob".parse::<Account>().expect_err("needs a password");
        assert!(refused.contains("sc config landfall obj="), "{refused}");
    }
}
