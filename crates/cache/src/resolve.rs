//! From what the memory tier did not know to an answer: who runs what, and who waits for whom.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adulis_types::{CacheStatus, StageTimings};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Key;
use crate::cache::{Found, ModelCache, Refresh, Search};
use crate::compute::{Compute, Computed, Inputs};
use crate::entry::Outcome;
use crate::flight::{Joined, Lead, News};
use crate::plan::{Plan, State};
use crate::rows;
use crate::value::Answer;

/// Slots of a plan that are this request's to run.
pub(crate) type Leads = Vec<(usize, Lead)>;

/// What a request brings to its search.
pub(crate) struct Asked<'a, C> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) compute: &'a C,
    pub(crate) outputs: Option<&'a [usize]>,
    /// Rows of the inputs; the whole counts as one where it is looked up whole.
    pub(crate) rows: usize,
    /// Whether a slot of the plan is a row.
    pub(crate) row_wise: bool,
    pub(crate) deadline: Option<Instant>,
}

/// What its runs came to so far.
#[derive(Default)]
struct Progress {
    timings: StageTimings,
    /// The whole answer, where one run gave it.
    whole: Option<Answer>,
    /// Whether it waited for another.
    waited: bool,
    /// Whether some of its rows are given although they are out of date.
    is_stale: bool,
    /// Time in tiers.
    spent: Duration,
}

impl ModelCache {
    /// Finds the answer of a request: waits for those who are computing parts of it already, has the rest computed, and
    /// remembers that. `rows` are those of the inputs, as the search's question had them.
    ///
    /// Dropping the future gives what it was computing to whoever waits for it.
    ///
    /// # Errors
    /// What `compute` says; its [`Compute::late`] at the deadline, where it only waited.
    pub async fn resolve<C: Compute>(
        &self,
        search: Search,
        (inputs, rows): (Inputs, Option<usize>),
        compute: &C,
        deadline: Option<Instant>,
    ) -> Result<Found, C::Error> {
        let Search { mut plan, outputs, age, is_stale, spent, looks, .. } = search;
        let asked = Asked {
            inputs: &inputs,
            compute,
            outputs: outputs.as_deref(),
            rows: plan.rows(),
            row_wise: rows.is_some(),
            deadline,
        };
        let mut progress = Progress { spent, is_stale, ..Progress::default() };
        if looks {
            self.fly(&mut plan, &asked, &mut progress).await?;
        } else {
            self.run_anew(&mut plan, &asked, &mut progress).await?;
        }
        self.finish(&plan, &asked, progress, (looks, age)).await
    }

    /// Computes anew what is out of date, for those that come later.
    ///
    /// # Errors
    /// What `compute` says. What is known stays.
    pub async fn revalidate<C: Compute>(
        &self,
        refresh: Refresh,
        (inputs, rows): (Inputs, Option<usize>),
        compute: &C,
    ) -> Result<(), C::Error> {
        let Refresh { leads, outputs, rows: total } = refresh;
        let keys: Vec<_> = leads.iter().map(|(_, lead)| *lead.key()).collect();
        let mut plan = Plan::of_rows(&keys, leads.iter().map(|(row, _)| *row), total);
        let asked = Asked {
            inputs: &inputs,
            compute,
            outputs: outputs.as_deref(),
            rows: total,
            row_wise: rows.is_some(),
            deadline: None,
        };
        let leads = leads.into_iter().enumerate().map(|(slot, (_, lead))| (slot, lead)).collect();
        self.lead(&mut plan, leads, &asked, &mut Progress::default()).await
    }

    /// Joins the flights of what is missing, leads those that nobody leads, and waits for the others.
    async fn fly<C: Compute>(
        &self,
        plan: &mut Plan,
        asked: &Asked<'_, C>,
        progress: &mut Progress,
    ) -> Result<(), C::Error> {
        let (mut leads, mut following) = (Leads::new(), FuturesUnordered::new());
        let missing: Vec<usize> = plan.missing().collect();
        let keys: Vec<Key> = missing.iter().map(|slot| plan.slots()[*slot].key).collect();
        for (slot, joined) in missing.into_iter().zip(self.cache.flights.join(&keys, asked.compute.rank())) {
            match joined {
                Joined::Lead(lead) => self.lead_or_know(plan, slot, lead, &mut leads),
                Joined::Follow(news) => following.push(heard(slot, news)),
            }
        }
        progress.waited = !following.is_empty();
        loop {
            // What is this request's to run is run before it waits for others: nobody ever waits for one that waits.
            if !leads.is_empty() {
                let leads = std::mem::take(&mut leads);
                self.lead(plan, leads, asked, progress).await?;
            }
            let next = following.next();
            let told = match asked.deadline {
                None => next.await,
                Some(at) => tokio::time::timeout_at(at, next).await.map_err(|_| asked.compute.late())?,
            };
            match told {
                None => return Ok(()),
                Some((slot, Ok(News::Landed(entry)))) => plan.set(slot, State::Known(entry)),
                Some((slot, Ok(News::Lead(lead)))) => self.lead_or_know(plan, slot, lead, &mut leads),
                // A flight without a leader, which there never is: as if it had not been there.
                Some((slot, Err(_))) => {
                    for joined in self.cache.flights.join(&[plan.slots()[slot].key], asked.compute.rank()) {
                        match joined {
                            Joined::Lead(lead) => self.lead_or_know(plan, slot, lead, &mut leads),
                            Joined::Follow(news) => following.push(heard(slot, news)),
                        }
                    }
                }
            }
        }
    }

    /// A flight may have landed between the look into memory and the lead.
    fn lead_or_know(&self, plan: &mut Plan, slot: usize, lead: Lead, leads: &mut Leads) {
        match self.cache.memory.get(lead.key(), Instant::now()) {
            None => leads.push((slot, lead)),
            Some((entry, _)) => {
                lead.land(&entry);
                plan.set(slot, State::Known(entry));
            }
        }
    }

    /// Finds what is this request's to find: in the shared tier, or by a run of the model.
    async fn lead<C: Compute>(
        &self,
        plan: &mut Plan,
        leads: Leads,
        asked: &Asked<'_, C>,
        progress: &mut Progress,
    ) -> Result<(), C::Error> {
        let began = Instant::now();
        let (leads, begun) = self.ask_shared(plan, leads, asked).await;
        let purges = begun.purges;
        progress.spent += began.elapsed();
        if leads.is_empty() {
            return Ok(());
        }
        let slots: Vec<usize> = leads.iter().map(|(slot, _)| *slot).collect();
        let computed = match self.run(plan, &slots, asked).await {
            Ok(computed) => computed,
            Err(error) => {
                self.remember_failure(leads, purges, asked.compute.lasting(&error));
                return Err(error);
            }
        };
        add(&mut progress.timings, &computed.timings);
        let began = Instant::now();
        let now_since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let Some(answers) = self.cut(&computed.answer, asked, slots.len()) else {
            // Not to be told apart by rows: it is the answer of this request alone, if it is that.
            progress.whole = (slots.len() == asked.rows).then_some(computed.answer);
            return Ok(());
        };
        let mut written = Vec::with_capacity(if self.cache.shared.is_some() { answers.len() } else { 0 });
        for ((slot, lead), answer) in leads.into_iter().zip(answers) {
            let outcome = Outcome::Answer(answer.clone());
            let entry = self.remember(*lead.key(), outcome, (Duration::ZERO, purges));
            if self.cache.shared.is_some() {
                written.push((*lead.key(), std::sync::Arc::clone(&entry)));
            }
            lead.land(&entry);
            plan.set(slot, State::Run(answer));
        }
        self.write_shared(written, now_since_1970, begun);
        if slots.len() == asked.rows {
            progress.whole = Some(computed.answer);
        }
        progress.spent += began.elapsed();
        Ok(())
    }

    /// Runs all of a request, whoever else is at it, and remembers what it gives.
    async fn run_anew<C: Compute>(
        &self,
        plan: &mut Plan,
        asked: &Asked<'_, C>,
        progress: &mut Progress,
    ) -> Result<(), C::Error> {
        let purges = self.marks.count();
        let slots: Vec<usize> = (0..plan.slots().len()).collect();
        let computed = self.run(plan, &slots, asked).await?;
        add(&mut progress.timings, &computed.timings);
        for (slot, answer) in self.cut(&computed.answer, asked, slots.len()).into_iter().flatten().enumerate()
        {
            let key = plan.slots()[slot].key;
            self.remember(key, Outcome::Answer(answer.clone()), (Duration::ZERO, purges));
            plan.set(slot, State::Run(answer));
        }
        if slots.len() == asked.rows {
            progress.whole = Some(computed.answer);
        }
        Ok(())
    }

    /// Runs some slots of a request, in one run.
    async fn run<C: Compute>(
        &self,
        plan: &Plan,
        slots: &[usize],
        asked: &Asked<'_, C>,
    ) -> Result<Computed, C::Error> {
        if !asked.row_wise {
            return asked.compute.run(asked.inputs.clone(), None).await;
        }
        let wanted: Vec<usize> = slots.iter().map(|slot| plan.slots()[*slot].row).collect();
        match rows::gather(asked.inputs, &wanted, asked.rows) {
            Some(inputs) => asked.compute.run(inputs, Some(wanted.len())).await,
            // The rows were cut for their keys already: it does not come to this.
            None => asked.compute.run(asked.inputs.clone(), None).await,
        }
    }

    fn cut<C>(&self, answer: &Answer, asked: &Asked<'_, C>, rows: usize) -> Option<Vec<Answer>> {
        if asked.row_wise {
            rows::split(answer, rows)
        } else {
            Some(vec![answer.clone()])
        }
    }

    /// Remembers a failure that would be the same each time, where that is wanted; otherwise whoever waits tries for itself.
    fn remember_failure(&self, mut leads: Leads, purges: u64, lasting: Option<adulis_types::Failure>) {
        // Of several rows it is not known which one fails.
        let is_one = leads.len() == 1;
        let Some(failure) = lasting.filter(|_| is_one && !self.policy.negative_ttl.is_zero()) else {
            return;
        };
        if let Some((_, lead)) = leads.pop() {
            let entry = self.remember(*lead.key(), Outcome::Failure(failure), (Duration::ZERO, purges));
            lead.land(&entry);
        }
    }

    /// The answer of all that is known now.
    async fn finish<C: Compute>(
        &self,
        plan: &Plan,
        asked: &Asked<'_, C>,
        mut progress: Progress,
        (looks, known_age): (bool, Duration),
    ) -> Result<Found, C::Error> {
        if let Some(failure) = plan.failure() {
            return Err(asked.compute.recalled(failure));
        }
        let now = Instant::now();
        let mut run = plan.rows_run();
        let answer = match progress.whole.take().or_else(|| plan.answer()) {
            Some(answer) => answer,
            // Rows that do not fit together: they depend on each other after all.
            None => {
                let computed = asked.compute.run(asked.inputs.clone(), None).await?;
                add(&mut progress.timings, &computed.timings);
                run = asked.rows;
                computed.answer
            }
        };
        let status = match () {
            () if !looks => CacheStatus::Bypass,
            () if run > 0 => CacheStatus::Miss,
            () if progress.is_stale => CacheStatus::Stale,
            () if progress.waited => CacheStatus::Coalesced,
            () => CacheStatus::Hit,
        };
        let found = Found {
            answer,
            status,
            age: known_age.max(plan.age(now)),
            rows_run: run,
            timings: progress.timings,
            spent: progress.spent,
            refresh: None,
        };
        self.count(&found, plan.rows());
        Ok(found)
    }
}

type Heard = (usize, Result<News, oneshot::error::RecvError>);

async fn heard(slot: usize, news: oneshot::Receiver<News>) -> Heard {
    (slot, news.await)
}

fn add(sum: &mut StageTimings, run: &StageTimings) {
    sum.queue += run.queue;
    sum.batch += run.batch;
    sum.compute_input += run.compute_input;
    sum.compute_infer += run.compute_infer;
    sum.compute_output += run.compute_output;
}

#[cfg(test)]
mod tests;
