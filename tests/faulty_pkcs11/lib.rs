//! A PKCS#11 module for tests: forwards everything to a real one and injects faults by script.
//!
//! `FAULTY_PKCS11_MODULE` names the real module (SoftHSM by default), `FAULTY_PKCS11_SCRIPT` the fault script
//! (see [`script`]), `FAULTY_PKCS11_STATE` the file of login counts (see [`strikes`]). Functions that no rule can
//! name are the real module's own.
#![allow(unsafe_code, non_snake_case)]

#[allow(dead_code, reason = "the benchmark uses the rest of it")]
mod real;
mod script;
mod spoil;
mod strikes;
mod world;

use cryptoki_sys::*;
use script::Action;
use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr::from_mut;
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
        Some(Action::Segv) => loop {
            // The first one only takes the handler away that looks for overflows of the stack.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSEGV);
        },
        Some(Action::Exit) => std::process::exit(1),
        _ => {}
    }
    Ok(())
}

fn code(result: Result<CK_RV, CK_RV>) -> CK_RV {
    result.unwrap_or_else(|rv| rv)
}

/// Calls the real function with the same arguments.
macro_rules! call_real {
    ($name:ident($($argument:expr),* $(,)?)) => {
        match real().and_then(|list| list.$name) {
            // SAFETY: same function, same arguments: whatever our caller owes the module, it owes to us.
            Some(function) => unsafe { function($($argument),*) },
            None => CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}

fn close_real(session: CK_SESSION_HANDLE) {
    // Dead here is dead, whatever the real one says.
    let _ = call_real!(C_CloseSession(session));
}

/// Functions where only the script's rules, the state of a session and the numbers of slots matter. The first
/// argument decides: `session`, `slot`, or anything else.
macro_rules! plain {
    ($($kind:ident $name:ident($first:ident: $of:ty $(, $argument:ident: $type:ty)*);)*) => {
        $(extern "C" fn $name($first: $of, $($argument: $type),*) -> CK_RV {
            code(before(script::next(stringify!($name))).and_then(|()| {
                let $first = plain!(@$kind $first);
                Ok(call_real!($name($first, $($argument),*)))
            }))
        })*
        fn override_plain(list: &mut CK_FUNCTION_LIST) {
            $(list.$name = Some($name);)*
        }
    };
    (@session $first:ident) => {{
        world::enter($first, close_real)?;
        $first
    }};
    (@slot $first:ident) => { world::real_slot($first)? };
    (@other $first:ident) => { $first };
}

plain! {
    other C_Initialize(args: *mut c_void);
    slot C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO);
    slot C_GetMechanismList(slot: CK_SLOT_ID, list: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG);
    slot C_GetMechanismInfo(slot: CK_SLOT_ID, kind: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO);
    session C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO);
    session C_Logout(session: CK_SESSION_HANDLE);
    session C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    session C_FindObjectsFinal(session: CK_SESSION_HANDLE);
}

extern "C" fn C_GetSlotList(present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) -> CK_RV {
    if let Err(rv) = before(script::next("C_GetSlotList")) {
        return rv;
    }
    if script::facts().removed {
        // SAFETY: PKCS#11 wants a valid pointer here.
        unsafe { *count = 0 };
        return CKR_OK;
    }
    let rv = call_real!(C_GetSlotList(present, slots, count));
    if rv == CKR_OK && !slots.is_null() {
        // SAFETY: the real module has just written `count`, and that many slots.
        unsafe {
            for place in 0..*count as usize {
                *slots.add(place) = world::shown_slot(*slots.add(place));
            }
        }
    }
    rv
}

extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    code(before(script::next("C_GetTokenInfo")).and_then(|()| {
        let rv = call_real!(C_GetTokenInfo(world::real_slot(slot)?, info));
        if rv == CKR_OK
            && let Some(limit) = script::wrong_limit()
            // SAFETY: the real module has just filled what `info` points to, so it points to a token info.
            && let Some(info) = unsafe { info.as_mut() }
        {
            info.flags |= strikes::flags(limit);
        }
        Ok(rv)
    }))
}

extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    code(before(script::next("C_OpenSession")).and_then(|()| {
        let slot = world::real_slot(slot)?;
        world::may_open(close_real)?;
        let rv = call_real!(C_OpenSession(slot, flags, application, notify, session));
        if rv == CKR_OK {
            // SAFETY: the real module has just written it.
            world::opened(unsafe { *session });
        }
        Ok(rv)
    }))
}

extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    code(before(script::next("C_CloseSession")).and_then(|()| {
        world::enter(session, close_real)?;
        world::closed(session);
        Ok(call_real!(C_CloseSession(session)))
    }))
}

extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    let action = script::next("C_Login");
    code(before(action).and_then(|()| {
        world::enter(session, close_real)?;
        let real = || call_real!(C_Login(session, user, pin, length));
        world::leak(script::facts().weight);
        let rv = if user == CKU_USER { strikes::login(script::wrong_limit(), real) } else { real() };
        match action {
            Some(Action::Then(code)) => Err(code),
            _ => Ok(rv),
        }
    }))
}

extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    room: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    code(before(script::next("C_FindObjects")).and_then(|()| {
        world::enter(session, close_real)?;
        let rv = call_real!(C_FindObjects(session, objects, room, count));
        if rv == CKR_OK {
            // SAFETY: the real module has just written `count` and that many handles.
            unsafe {
                for place in 0..*count as usize {
                    *objects.add(place) = world::shown_object(*objects.add(place));
                }
            }
        }
        Ok(rv)
    }))
}

extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    code(before(script::next("C_GetAttributeValue")).and_then(|()| {
        world::enter(session, close_real)?;
        let object = world::real_object(object)?;
        Ok(call_real!(C_GetAttributeValue(session, object, template, count)))
    }))
}

extern "C" fn C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
    code(before(script::next("C_DestroyObject")).and_then(|()| {
        world::enter(session, close_real)?;
        Ok(call_real!(C_DestroyObject(session, world::real_object(object)?)))
    }))
}

extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    code(before(script::next("C_GenerateKeyPair")).and_then(|()| {
        world::enter(session, close_real)?;
        let rv = call_real!(C_GenerateKeyPair(
            session,
            mechanism,
            public,
            public_count,
            private,
            private_count,
            public_key,
            private_key
        ));
        if rv == CKR_OK {
            // SAFETY: the real module has just written both.
            unsafe {
                *public_key = world::shown_object(*public_key);
                *private_key = world::shown_object(*private_key);
            }
        }
        Ok(rv)
    }))
}

extern "C" fn C_SignInit(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let action = script::next("C_SignInit");
    code(before(action).and_then(|()| {
        world::enter(session, close_real)?;
        let mut key = world::real_object(key).map_err(|_| CKR_KEY_HANDLE_INVALID)?;
        if action == Some(Action::OtherKey) {
            key = other_key(session, key)?;
        }
        Ok(call_real!(C_SignInit(session, mechanism, key)))
    }))
}

/// Another private key of the same type in the same token.
fn other_key(session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let good = |rv| if rv == CKR_OK { Ok(()) } else { Err(rv) };
    let mut class = CKO_PRIVATE_KEY;
    let mut kind: CK_KEY_TYPE = 0;
    let attribute = |type_, value: *mut CK_ULONG| CK_ATTRIBUTE {
        type_,
        pValue: value.cast(),
        ulValueLen: size_of::<CK_ULONG>() as _,
    };
    let mut wanted = [attribute(CKA_KEY_TYPE, from_mut(&mut kind))];
    good(call_real!(C_GetAttributeValue(session, key, wanted.as_mut_ptr(), 1)))?;
    let mut template =
        [attribute(CKA_CLASS, from_mut(&mut class)), attribute(CKA_KEY_TYPE, from_mut(&mut kind))];
    let (mut found, mut count) = ([0; 2], 0);
    good(call_real!(C_FindObjectsInit(session, template.as_mut_ptr(), 2)))?;
    good(call_real!(C_FindObjects(session, found.as_mut_ptr(), 2, &mut count)))?;
    good(call_real!(C_FindObjectsFinal(session)))?;
    found[..count as usize].iter().copied().find(|other| *other != key).ok_or(CKR_KEY_HANDLE_INVALID)
}

extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    signature: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> CK_RV {
    // A question for the size is not a signature.
    let asked = signature.is_null();
    let action = if asked { None } else { script::next("C_Sign") };
    let entered = before(action).and_then(|()| world::enter(session, close_real));
    if let Err(rv) = entered {
        return rv;
    }
    let rv = call_real!(C_Sign(session, data, data_length, signature, length));
    if rv != CKR_OK {
        return rv;
    }
    // SAFETY: the call succeeded, so `length` is valid, and `signature` holds that many bytes, or more where DER was
    // announced.
    unsafe {
        if asked && script::wants_room() {
            *length += 16;
        }
        if !asked && let Some(action) = action {
            let bad = spoil::spoil(action, std::slice::from_raw_parts(signature, *length as usize));
            std::ptr::copy_nonoverlapping(bad.as_ptr(), signature, bad.len());
            *length = bad.len() as _;
        }
    }
    world::leak(script::facts().leak);
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
        list.C_GetSlotList = Some(C_GetSlotList);
        list.C_GetTokenInfo = Some(C_GetTokenInfo);
        list.C_OpenSession = Some(C_OpenSession);
        list.C_CloseSession = Some(C_CloseSession);
        list.C_Login = Some(C_Login);
        list.C_FindObjects = Some(C_FindObjects);
        list.C_GetAttributeValue = Some(C_GetAttributeValue);
        list.C_DestroyObject = Some(C_DestroyObject);
        list.C_GenerateKeyPair = Some(C_GenerateKeyPair);
        list.C_SignInit = Some(C_SignInit);
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
