//! A PKCS#11 module for tests: forwards everything to a real one and injects faults by script.
//!
//! `FAULTY_PKCS11_MODULE` names the real module (SoftHSM by default), `FAULTY_PKCS11_SCRIPT` the fault script
//! (see [`script`]), `FAULTY_PKCS11_STATE` the file of login counts (see [`strikes`]). Functions that no rule can
//! name are the real module's own.
#![allow(unsafe_code, non_snake_case)]

#[allow(dead_code, reason = "the benchmark uses the rest of it")]
mod real;
mod script;
mod strikes;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FLAGS, CK_FUNCTION_LIST, CK_MECHANISM, CK_NOTIFY, CK_OBJECT_HANDLE,
    CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO, CK_ULONG, CK_USER_TYPE, CK_UTF8CHAR,
    CKR_ARGUMENTS_BAD, CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR, CKR_OK, CKU_USER,
};
use script::Action;
use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

static REAL: OnceLock<Option<real::Module>> = OnceLock::new();
static LIST: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();

fn real() -> Option<&'static CK_FUNCTION_LIST> {
    let module = REAL.get_or_init(|| {
        let path = std::env::var_os("FAULTY_PKCS11_MODULE")
            .map_or_else(|| "/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from);
        real::Module::load(&path).ok()
    });
    module.as_ref().map(real::Module::functions)
}

/// Does what the script says should happen before or instead of the call; `Err` is what the call returns then.
fn before(action: Option<Action>) -> Result<(), CK_RV> {
    match action {
        Some(Action::Hang) => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        Some(Action::Delay(pause)) => std::thread::sleep(pause),
        Some(Action::Return(code)) => return Err(code),
        Some(Action::Abort) => std::process::abort(),
        Some(Action::Exit) => std::process::exit(1),
        Some(Action::Corrupt | Action::Short | Action::CountWrong(_)) | None => {}
    }
    Ok(())
}

/// Calls the real function with the same arguments.
macro_rules! call_real {
    ($name:ident($($argument:expr),*)) => {
        match real().and_then(|list| list.$name) {
            // SAFETY: same function, same arguments: whatever our caller owes the module, it owes to us.
            Some(function) => unsafe { function($($argument),*) },
            None => CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}

/// Functions where faults are injected before the call, and nothing else is changed.
macro_rules! plain {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(extern "C" fn $name($($argument: $type),*) -> CK_RV {
            match before(script::next(stringify!($name))) {
                Ok(()) => call_real!($name($($argument),*)),
                Err(rv) => rv,
            }
        })*
        fn override_plain(list: &mut CK_FUNCTION_LIST) {
            $(list.$name = Some($name);)*
        }
    };
}

plain! {
    C_Initialize(args: *mut c_void);
    C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG);
    C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut c_void, notify: CK_NOTIFY, session: *mut CK_SESSION_HANDLE);
    C_CloseSession(session: CK_SESSION_HANDLE);
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_FindObjects(session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, room: CK_ULONG, count: *mut CK_ULONG);
    C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_GenerateKeyPair(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public: *mut CK_ATTRIBUTE, public_count: CK_ULONG, private: *mut CK_ATTRIBUTE, private_count: CK_ULONG, public_key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE);
}

extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    if let Err(rv) = before(script::next("C_Login")) {
        return rv;
    }
    let real = || call_real!(C_Login(session, user, pin, length));
    if user == CKU_USER { strikes::login(script::wrong_limit(), real) } else { real() }
}

extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    if let Err(rv) = before(script::next("C_GetTokenInfo")) {
        return rv;
    }
    let rv = call_real!(C_GetTokenInfo(slot, info));
    if rv == CKR_OK
        && let Some(limit) = script::wrong_limit()
        // SAFETY: the real module has just filled what `info` points to, so it points to a token info.
        && let Some(info) = unsafe { info.as_mut() }
    {
        info.flags |= strikes::flags(limit);
    }
    rv
}

extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    signature: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> CK_RV {
    // A question for the size is not a signature.
    let action = if signature.is_null() { None } else { script::next("C_Sign") };
    if let Err(rv) = before(action) {
        return rv;
    }
    let rv = call_real!(C_Sign(session, data, data_length, signature, length));
    if rv != CKR_OK || signature.is_null() {
        return rv;
    }
    // SAFETY: the call succeeded, so `length` is valid, and `signature` holds that many bytes.
    unsafe {
        match action {
            Some(Action::Corrupt) if *length > 0 => *signature.add(*length as usize / 2) ^= 1,
            Some(Action::Short) if *length > 0 => *length -= 1,
            _ => {}
        }
    }
    rv
}

/// The entry point of a PKCS#11 module.
///
/// # Safety
/// `list` must be null or point to room for one pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    let Some(real) = real() else {
        return CKR_GENERAL_ERROR;
    };
    let ours = LIST.get_or_init(|| {
        let mut list = *real;
        override_plain(&mut list);
        list.C_Login = Some(C_Login);
        list.C_GetTokenInfo = Some(C_GetTokenInfo);
        list.C_Sign = Some(C_Sign);
        list.C_GetFunctionList = Some(C_GetFunctionList);
        list
    });
    // SAFETY: by this function's own contract.
    match unsafe { list.as_mut() } {
        Some(list) => {
            *list = std::ptr::from_ref(ours).cast_mut();
            CKR_OK
        }
        None => CKR_ARGUMENTS_BAD,
    }
}
