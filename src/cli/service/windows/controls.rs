//! What the service control manager asks of the running service: the handler, and what the manager is shown.
//!
//! The handler is a plain function, with no state that anybody frees: the manager may ask once more (`Interrogate`) after a stop.

use std::time::Duration;

use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::ServiceControlHandlerResult;

use crate::cli::asked;
use crate::supervisor::manager::{State, Status};

/// What a control asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Stop(&'static str),
    Reload,
    /// How it is: the manager knows what it was told last.
    Nothing,
    Unknown,
}

fn asked_by(control: &ServiceControl) -> Asks {
    match control {
        ServiceControl::Stop => Asks::Stop("the control to stop"),
        ServiceControl::Preshutdown => Asks::Stop("the machine shuts down"),
        ServiceControl::Shutdown => Asks::Stop("the machine shuts down now"),
        ServiceControl::ParamChange => Asks::Reload,
        ServiceControl::Interrogate => Asks::Nothing,
        _ => Asks::Unknown,
    }
}

/// The handler: it never waits.
pub(super) fn take(control: ServiceControl) -> ServiceControlHandlerResult {
    match asked_by(&control) {
        Asks::Stop(by) => asked::ask_to_stop(by),
        Asks::Reload => asked::ask_to_reload(),
        Asks::Nothing => {}
        Asks::Unknown => return ServiceControlHandlerResult::NotImplemented,
    }
    ServiceControlHandlerResult::NoError
}

/// As the system has it.
pub(super) fn shown(status: &Status) -> ServiceStatus {
    let (current_state, code) = match status.state {
        State::Starting => (ServiceState::StartPending, 0),
        State::Running => (ServiceState::Running, 0),
        State::Stopping => (ServiceState::StopPending, 0),
        State::Stopped { code } => (ServiceState::Stopped, code),
    };
    ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state,
        controls_accepted: accepted(status.state),
        exit_code: if code == 0 { ServiceExitCode::NO_ERROR } else { ServiceExitCode::ServiceSpecific(code) },
        checkpoint: status.checkpoint,
        wait_hint: status.takes.min(Duration::from_millis(u32::MAX.into())),
        process_id: None,
    }
}

/// Before a shutdown there is time to finish (`PRESHUTDOWN`); in one (`SHUTDOWN`) there is next to none.
fn accepted(state: State) -> ServiceControlAccept {
    match state {
        State::Starting | State::Running => {
            ServiceControlAccept::STOP
                | ServiceControlAccept::PRESHUTDOWN
                | ServiceControlAccept::PARAM_CHANGE
        }
        State::Stopping | State::Stopped { .. } => ServiceControlAccept::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::asked::{reload_asked, stop_asked};

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(Duration::ZERO, future).await.ok() })
    }

    /// One test: the handler is one for the process.
    #[test]
    fn a_stop_and_a_shutdown_drain_changed_parameters_reload_and_nothing_is_lost_where_nobody_waits_yet() {
        assert_eq!(now(reload_asked()), None);
        for control in [ServiceControl::ParamChange, ServiceControl::ParamChange, ServiceControl::Interrogate]
        {
            assert!(matches!(take(control), ServiceControlHandlerResult::NoError));
        }
        assert!(now(reload_asked()).is_some() && now(reload_asked()).is_none(), "two reloads are one");
        assert!(now(stop_asked()).is_none());
        take(ServiceControl::Preshutdown);
        take(ServiceControl::Stop);
        assert_eq!(now(stop_asked()), Some("the machine shuts down"), "the first counts");
        assert!(matches!(take(ServiceControl::Pause), ServiceControlHandlerResult::NotImplemented));
        assert_eq!(asked_by(&ServiceControl::Shutdown), Asks::Stop("the machine shuts down now"));
    }

    #[test]
    fn what_runs_can_be_stopped_and_what_ended_says_by_which_code() {
        let status = |state| shown(&Status { state, checkpoint: 0, takes: Duration::ZERO });
        let running = status(State::Running);
        assert!(running.controls_accepted.contains(ServiceControlAccept::PRESHUTDOWN));
        assert_eq!(running.exit_code, ServiceExitCode::NO_ERROR);
        let stopping = status(State::Stopping);
        assert!(stopping.controls_accepted.is_empty() && stopping.current_state == ServiceState::StopPending);
        assert_eq!(status(State::Stopped { code: 2 }).exit_code, ServiceExitCode::ServiceSpecific(2));
        assert_eq!(status(State::Stopped { code: 0 }).exit_code, ServiceExitCode::Win32(0));
    }
}
