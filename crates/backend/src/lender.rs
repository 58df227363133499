use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    static LENDER: RefCell<Option<Rc<dyn Lender>>> = const { RefCell::new(None) };
}

/// Whoever has lent a thread to a run, and has use for its core while the run only waits.
pub trait Lender {
    /// The thread is going to wait.
    fn waits(&self);

    /// It has waited.
    fn goes_on(&self);
}

/// Says who lends the current thread to runs from now on.
pub fn lend_this_thread(lender: Rc<dyn Lender>) {
    LENDER.set(Some(lender));
}

/// Does what may wait for long without using a core, such as for another process to start. Whoever lent the thread is told, and
/// may have another one work meanwhile; so it is not for what is over in microseconds.
pub fn while_waiting<T>(wait: impl FnOnce() -> T) -> T {
    let _told = Told::new();
    wait()
}

/// While it lives, the thread's lender knows that it waits, and is not told again.
struct Told(Option<Rc<dyn Lender>>);

impl Told {
    fn new() -> Self {
        let lender = LENDER.take();
        if let Some(lender) = &lender {
            lender.waits();
        }
        Self(lender)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(lender) = self.0.take() {
            lender.goes_on();
            LENDER.set(Some(lender));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[derive(Default)]
    struct Diary(RefCell<Vec<&'static str>>);

    impl Lender for Diary {
        fn waits(&self) {
            self.0.borrow_mut().push("waits");
        }

        fn goes_on(&self) {
            self.0.borrow_mut().push("goes on");
        }
    }

    #[test]
    fn a_lender_is_told_once_of_each_wait() {
        assert_eq!(while_waiting(|| 1), 1, "nobody has lent this thread");
        let lender = Rc::new(Diary::default());
        lend_this_thread(lender.clone());
        assert_eq!(while_waiting(|| while_waiting(|| 2)), 2);
        assert_eq!(lender.0.take(), ["waits", "goes on"]);
        let panicked = catch_unwind(AssertUnwindSafe(|| while_waiting(|| panic!("while it waited"))));
        assert!(panicked.is_err());
        while_waiting(|| ());
        assert_eq!(lender.0.take(), ["waits", "goes on", "waits", "goes on"]);
    }
}
