//! From the binding's errors to codes, and from codes to rows of the recovery table. Vendor codes end here.

use super::super::pin::Outcome;
use super::super::recovery::{self, Row};
use super::Fault;
use cryptoki::error::{Error, RvError};

/// The row of an error.
pub(super) fn row(error: &Error) -> &'static Row {
    match error {
        Error::Pkcs11(RvError::VendorDefined(code) | RvError::UnknownErrorCode(code), _) => {
            recovery::by_code(*code)
        }
        Error::Pkcs11(..) => recovery::by_name(&code(error)).unwrap_or(&recovery::UNKNOWN),
        // The module lacks the function.
        Error::NullFunctionPointer => recovery::by_code(0x54),
        _ => &recovery::BINDING,
    }
}

/// The fault that `error` is; `what` was being done when the error itself does not know.
pub(super) fn fault(what: &str, error: &Error) -> Fault {
    let code = code(error);
    let message = match error {
        Error::Pkcs11(_, function) => format!("C_{function:?}: {code}"),
        _ => format!("{what}: {code}"),
    };
    let named = matches!(error, Error::Pkcs11(..));
    let row = row(error);
    // The number of an unknown code is all that its vendor can work with.
    Fault { code: if named { code } else { row.name.to_owned() }, ..row.fault(message) }
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

/// Whether it says that there is a login already.
pub(super) fn claims_login(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::UserAlreadyLoggedIn, _))
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
            | RvError::UserAlreadyLoggedIn
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
            let row = recovery::by_code(*code);
            // Newer than the binding.
            if row.code == *code { row.name.to_owned() } else { format!("CKR_{code:#010x}") }
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
    use crate::backend::Class;
    use cryptoki::context::Function;
    use cryptoki::error::Rv;

    fn error(rv: RvError) -> Error {
        Error::Pkcs11(rv, Function::Sign)
    }

    #[test]
    fn codes_are_written_as_the_standard_does() {
        assert_eq!(code(&error(RvError::DeviceError)), "CKR_DEVICE_ERROR");
        assert_eq!(code(&error(RvError::PinIncorrect)), "CKR_PIN_INCORRECT");
        assert_eq!(code(&error(RvError::VendorDefined(0x8000_0384))), "CKR_0x80000384");
        assert_eq!(code(&error(RvError::UnknownErrorCode(0x201))), "CKR_TOKEN_RESOURCE_EXCEEDED");
        assert_eq!(fault("x", &error(RvError::DeviceError)).message, "C_Sign: CKR_DEVICE_ERROR");
    }

    #[test]
    fn every_code_of_the_binding_finds_its_row() {
        for wanted in recovery::TABLE {
            let Rv::Error(rv) = Rv::from(wanted.code) else { panic!("{} is no error", wanted.name) };
            assert_eq!(row(&error(rv)), wanted, "{rv:?}");
            assert_eq!(fault("x", &error(rv)).row(), Some(wanted), "{rv:?}");
        }
        for unknown in [0x999, 0x8000_0000, 0x8000_0384, u64::MAX] {
            let Rv::Error(rv) = Rv::from(unknown) else { panic!("{unknown} is no error") };
            assert_eq!(row(&error(rv)), &recovery::UNKNOWN);
            assert_eq!(fault("x", &error(rv)).row(), Some(&recovery::UNKNOWN));
        }
        assert_eq!(fault("x", &Error::NotSupported).class, Class::Bug);
        assert_eq!(row(&Error::NullFunctionPointer).name, "CKR_FUNCTION_NOT_SUPPORTED");
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
            RvError::UserAlreadyLoggedIn,
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
