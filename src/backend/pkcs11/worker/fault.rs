//! What a `CKR_` code means for the request, the session and the worker. Vendor codes end here.

use super::super::pin::Outcome;
use super::Fault;
use crate::backend::Class;
use cryptoki::error::{Error, RvError};

/// What must be renewed before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Close the session and open another one: its state is not to be trusted after any failure.
    Session,
    /// Initialize the module anew, which only another process can do.
    Worker,
}

/// The fault that `error` is, met while doing `what`.
pub(super) fn fault(what: &str, error: &Error) -> Fault {
    Fault::new(judge(error).0, format!("{what}: {}", code(error)))
}

/// The class of an error, and what it takes to recover from it.
pub(super) fn judge(error: &Error) -> (Class, Remedy) {
    use Class::{Bug, Busy, Down, Misconfigured};
    use Remedy::{Session, Worker};
    let Error::Pkcs11(rv, _) = error else {
        return (Bug, Session);
    };
    match rv {
        RvError::SessionCount | RvError::DeviceMemory => (Busy, Session),
        // Newer than the binding: TOKEN_RESOURCE_EXCEEDED, then KEY_EXHAUSTED, OPERATION_NOT_VALIDATED,
        // TOKEN_NOT_INITIALIZED.
        RvError::UnknownErrorCode(0x201) => (Busy, Session),
        RvError::UnknownErrorCode(0x203 | 0x207 | 0x208) => (Misconfigured, Session),
        RvError::ArgumentsBad | RvError::DataInvalid | RvError::DataLenRange | RvError::BufferTooSmall => {
            (Bug, Session)
        }
        RvError::FunctionNotSupported
        | RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::KeySizeRange
        | RvError::KeyTypeInconsistent
        | RvError::KeyFunctionNotPermitted
        | RvError::FunctionRejected
        | RvError::FunctionCanceled
        | RvError::CurveNotSupported
        | RvError::DomainParamsInvalid
        | RvError::AttributeReadOnly
        | RvError::AttributeTypeInvalid
        | RvError::AttributeValueInvalid
        | RvError::TemplateIncomplete
        | RvError::TemplateInconsistent
        | RvError::ActionProhibited
        | RvError::TokenWriteProtected
        | RvError::TokenNotRecognized
        | RvError::RandomNoRng
        | RvError::FipsSelfTestFailed
        | RvError::UserAnotherAlreadyLoggedIn
        | RvError::UserTooManyTypes => (Misconfigured, Session),
        rv if refuses_pin(rv) => (Misconfigured, Session),
        RvError::HostMemory
        | RvError::SlotIdInvalid
        | RvError::GeneralError
        | RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::UserNotLoggedIn
        | RvError::CryptokiNotInitialized
        | RvError::CryptokiAlreadyInitialized
        | RvError::VendorDefined(_)
        | RvError::UnknownErrorCode(_) => (Down, Worker),
        _ => (Down, Session),
    }
}

/// What a failed `C_Login` says about the PIN.
pub(super) fn login_outcome(error: &Error) -> Outcome {
    match error {
        Error::Pkcs11(rv, _) if refuses_pin(rv) => Outcome::Refused,
        Error::Pkcs11(rv, _) if keeps_pin(rv) => Outcome::NotTried,
        // The module has no `C_Login`.
        Error::NullFunctionPointer => Outcome::NotTried,
        _ => Outcome::Unknown,
    }
}

/// Codes by which a module refuses the call itself, so that no PIN reached the token.
fn keeps_pin(rv: &RvError) -> bool {
    matches!(
        rv,
        RvError::ArgumentsBad
            | RvError::CryptokiNotInitialized
            | RvError::FunctionNotSupported
            | RvError::OperationActive
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::SessionReadOnlyExists
            | RvError::SlotIdInvalid
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::UserAnotherAlreadyLoggedIn
            | RvError::UserTooManyTypes
            | RvError::UserTypeInvalid
    )
}

fn refuses_pin(rv: &RvError) -> bool {
    matches!(
        rv,
        RvError::PinIncorrect
            | RvError::PinLocked
            | RvError::PinExpired
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinTooWeak
            | RvError::UserPinNotInitialized
    )
}

/// The code as PKCS#11 writes it: `CKR_DEVICE_ERROR`. The binding's own text quotes the standard at length.
pub(super) fn code(error: &Error) -> String {
    match error {
        Error::Pkcs11(RvError::VendorDefined(code) | RvError::UnknownErrorCode(code), _) => {
            format!("CKR_{code:#010x}")
        }
        Error::Pkcs11(rv, _) => {
            let mut text = String::from("CKR");
            for letter in format!("{rv:?}").chars() {
                if letter.is_ascii_uppercase() {
                    text.push('_');
                }
                text.push(letter.to_ascii_uppercase());
            }
            text
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    fn error(rv: RvError) -> Error {
        Error::Pkcs11(rv, Function::Sign)
    }

    #[test]
    fn codes_are_written_as_the_standard_does() {
        assert_eq!(code(&error(RvError::DeviceError)), "CKR_DEVICE_ERROR");
        assert_eq!(code(&error(RvError::PinIncorrect)), "CKR_PIN_INCORRECT");
        assert_eq!(code(&error(RvError::VendorDefined(0x8000_0384))), "CKR_0x80000384");
    }

    #[test]
    fn the_recovery_table_holds() {
        use Class::{Bug, Busy, Down, Misconfigured};
        for (rv, class, remedy) in [
            (RvError::DeviceError, Down, Remedy::Session),
            (RvError::FunctionFailed, Down, Remedy::Session),
            (RvError::SessionHandleInvalid, Down, Remedy::Session),
            (RvError::SessionClosed, Down, Remedy::Session),
            (RvError::OperationActive, Down, Remedy::Session),
            (RvError::GeneralError, Down, Remedy::Worker),
            (RvError::ObjectHandleInvalid, Down, Remedy::Worker),
            (RvError::KeyHandleInvalid, Down, Remedy::Worker),
            (RvError::UserNotLoggedIn, Down, Remedy::Worker),
            (RvError::TokenNotPresent, Down, Remedy::Worker),
            (RvError::CryptokiNotInitialized, Down, Remedy::Worker),
            (RvError::VendorDefined(0x8000_0384), Down, Remedy::Worker),
            (RvError::UnknownErrorCode(0x999), Down, Remedy::Worker),
            (RvError::UnknownErrorCode(0x201), Busy, Remedy::Session),
            (RvError::SessionCount, Busy, Remedy::Session),
            (RvError::DataLenRange, Bug, Remedy::Session),
            (RvError::MechanismInvalid, Misconfigured, Remedy::Session),
            (RvError::KeyFunctionNotPermitted, Misconfigured, Remedy::Session),
            (RvError::PinLocked, Misconfigured, Remedy::Session),
        ] {
            assert_eq!(judge(&error(rv)), (class, remedy), "{rv:?}");
        }
    }

    #[test]
    fn only_a_clear_answer_forgets_an_attempt() {
        assert_eq!(login_outcome(&error(RvError::PinIncorrect)), Outcome::Refused);
        assert_eq!(login_outcome(&error(RvError::UserPinNotInitialized)), Outcome::Refused);
        for rv in [
            RvError::CryptokiNotInitialized,
            RvError::SessionHandleInvalid,
            RvError::SessionClosed,
            RvError::TokenNotPresent,
            RvError::ArgumentsBad,
            RvError::OperationActive,
            RvError::FunctionNotSupported,
            RvError::UserTypeInvalid,
        ] {
            assert_eq!(login_outcome(&error(rv)), Outcome::NotTried, "{rv:?}");
        }
        assert_eq!(login_outcome(&Error::NullFunctionPointer), Outcome::NotTried);
        for rv in [
            RvError::GeneralError,
            RvError::FunctionFailed,
            RvError::DeviceError,
            RvError::DeviceRemoved,
            RvError::HostMemory,
            RvError::VendorDefined(0x8000_0001),
            RvError::UnknownErrorCode(0x999),
        ] {
            assert_eq!(login_outcome(&error(rv)), Outcome::Unknown, "{rv:?}");
        }
    }
}
