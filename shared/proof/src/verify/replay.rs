//! The rows of an export one after another.

use std::mem;

use super::fault::{Alteration, Check, Subject};
use super::ledger::Ledger;
use super::{Expected, Options, Summary, Unsigned};
use crate::block::Block;
use crate::checkpoint::Checkpoint;
use crate::export::{Counts, FORMAT, Row, VERSION};
use crate::hash::Hash;
use crate::posting::PostingRecord;

/// Everything that the next row is held against.
pub(super) struct Replay<'a> {
    options: &'a Options,
    place: Place,
    ledger: Ledger,
    counts: Counts,
    /// The heights of the first block and of the latest.
    heights: Option<(u64, u64)>,
    latest: Option<Block>,
    checkpoint: Option<Checkpoint>,
    unsigned: Unsigned,
    /// Whether anything, a signature or the expected block, vouches for a part.
    is_vouched_for: bool,
    /// Whether the expected block was seen, or none is expected.
    is_reached: bool,
}

/// Which rows may come next.
enum Place {
    /// The header.
    Start,
    /// A posting of the block.
    In(Sealed),
    /// A block or the end; a checkpoint too, if the latest block may have one.
    Between { may_be_signed: bool },
    /// Nothing.
    End,
}

/// A block whose postings are coming.
struct Sealed {
    line: u64,
    leaves: Vec<Hash>,
    next: usize,
    /// The earliest and the latest recorded time of the postings so far.
    recorded_us: Option<(i64, i64)>,
}

type Outcome = Result<(), Box<Alteration>>;

impl<'a> Replay<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self {
            options,
            place: Place::Start,
            ledger: Ledger::new(true),
            counts: Counts::default(),
            heights: None,
            latest: None,
            checkpoint: None,
            unsigned: Unsigned::default(),
            is_vouched_for: false,
            is_reached: options.expected.is_none(),
        }
    }

    /// Takes the next row.
    pub(super) fn accept(&mut self, line: u64, row: Row) -> Outcome {
        let subject = subject(&row);
        let at = |check| {
            Box::new(Alteration {
                line,
                subject,
                check,
            })
        };
        let place = mem::replace(&mut self.place, Place::End);
        match (place, row) {
            (Place::Start, Row::Header { format, version }) => {
                if format != FORMAT || version != VERSION {
                    return Err(at(Check::Header));
                }
                self.place = Place::Between {
                    may_be_signed: false,
                };
                Ok(())
            }
            (Place::In(sealed), Row::Posting(posting)) => self.posting(line, sealed, &posting),
            (Place::Between { .. }, Row::Block { block, leaf_hashes }) => {
                self.block(line, block, leaf_hashes).map_err(at)
            }
            (
                Place::Between {
                    may_be_signed: true,
                },
                Row::Checkpoint(checkpoint),
            ) => self.signed(checkpoint).map_err(at),
            (Place::Between { .. }, Row::End(stated)) => self.end(stated).map_err(at),
            (place, _) => Err(at(Check::Order {
                expected: expected(&place),
            })),
        }
    }

    /// Takes the end of the export, behind its last line.
    pub(super) fn finish(self, last_line: u64) -> Result<Summary, Box<Alteration>> {
        if !matches!(self.place, Place::End) {
            return Err(Box::new(Alteration {
                line: last_line + 1,
                subject: Subject::Missing,
                check: Check::Order {
                    expected: expected(&self.place),
                },
            }));
        }
        Ok(Summary {
            counts: self.counts,
            heights: self.heights,
            wallets: u64::try_from(self.ledger.wallets()).unwrap_or(u64::MAX),
            currencies: self.ledger.currencies(),
            checkpoint: self.checkpoint,
            unsigned: self.unsigned,
        })
    }

    fn block(&mut self, line: u64, block: Block, leaves: Vec<Hash>) -> Result<(), Check> {
        block.check()?;
        block.check_leaves(&leaves)?;
        let first = match &self.latest {
            Some(previous) => {
                block.check_follows(previous)?;
                self.heights.map_or(block.height, |(first, _)| first)
            }
            None => {
                self.ledger = Ledger::new(block.height == 1);
                block.height
            }
        };
        self.expect(&block)?;
        self.heights = Some((first, block.height));
        self.counts.blocks += 1;
        self.unsigned.blocks += 1;
        self.unsigned.postings += u64::from(block.posting_count);
        self.latest = Some(block);
        self.place = Place::In(Sealed {
            line,
            leaves,
            next: 0,
            recorded_us: None,
        });
        Ok(())
    }

    /// Holds a block against the one that is known from elsewhere.
    fn expect(&mut self, block: &Block) -> Result<(), Check> {
        let Some(Expected { height, hash }) = self.options.expected else {
            return Ok(());
        };
        let found = if block.height == height {
            block.hash
        } else if self.latest.is_none() && block.height.checked_sub(1) == Some(height) {
            block.previous_hash
        } else {
            return Ok(());
        };
        if found != hash {
            return Err(Check::Unexpected { expected: hash });
        }
        self.is_reached = true;
        Ok(())
    }

    fn posting(&mut self, line: u64, mut sealed: Sealed, posting: &PostingRecord<'_>) -> Outcome {
        let at = |check| {
            Box::new(Alteration {
                line,
                subject: Subject::Posting(posting.posting_id),
                check,
            })
        };
        let leaf = posting.leaf();
        let index = sealed.next;
        match sealed.leaves.get(index) {
            Some(expected) if *expected == leaf => {}
            Some(expected) => {
                return Err(at(Check::Leaf {
                    computed: leaf,
                    sealed: *expected,
                    index,
                }));
            }
            None => {
                return Err(at(Check::Order {
                    expected: "a block or the end",
                }));
            }
        }
        self.ledger.post(posting).map_err(at)?;
        self.counts.postings += 1;
        self.counts.entries += u64::try_from(posting.entries.len()).unwrap_or(u64::MAX);
        let at_us = posting.recorded_at_us;
        let (earliest, latest) = sealed.recorded_us.unwrap_or((at_us, at_us));
        sealed.recorded_us = Some((earliest.min(at_us), latest.max(at_us)));
        sealed.next += 1;
        if sealed.next < sealed.leaves.len() {
            self.place = Place::In(sealed);
            return Ok(());
        }
        self.complete(&sealed)
    }

    /// Takes the last posting of a block. What is wrong then is the block's.
    fn complete(&mut self, sealed: &Sealed) -> Outcome {
        if let Some(block) = &self.latest {
            let stated = Some((block.first_recorded_us, block.last_recorded_us));
            if sealed.recorded_us != stated {
                return Err(Box::new(Alteration {
                    line: sealed.line,
                    subject: Subject::Block(block.height),
                    check: Check::BlockTimes,
                }));
            }
            let known = self.options.expected.map(|expected| expected.height);
            if known == Some(block.height) {
                self.vouch();
            }
        }
        self.place = Place::Between {
            may_be_signed: true,
        };
        Ok(())
    }

    fn signed(&mut self, checkpoint: Checkpoint) -> Result<(), Check> {
        let Some(block) = &self.latest else {
            return Err(Check::Order {
                expected: "a block or the end",
            });
        };
        checkpoint.check(block, &self.options.keys)?;
        self.checkpoint = Some(checkpoint);
        self.counts.checkpoints += 1;
        self.vouch();
        self.place = Place::Between {
            may_be_signed: false,
        };
        Ok(())
    }

    /// Everything up to here is vouched for.
    fn vouch(&mut self) {
        self.is_vouched_for = true;
        self.unsigned = Unsigned::default();
    }

    fn end(&mut self, stated: Counts) -> Result<(), Check> {
        if stated != self.counts {
            return Err(Check::Counts {
                stated,
                found: self.counts,
            });
        }
        if let Some(Expected { height, .. }) = self.options.expected
            && !self.is_reached
        {
            return Err(Check::NotReached { height });
        }
        let blocks = self.unsigned.blocks;
        if blocks > 0 && (self.options.is_unsigned_refused || !self.is_vouched_for) {
            return Err(Check::Unsigned { blocks });
        }
        Ok(())
    }
}

fn subject(row: &Row) -> Subject {
    match row {
        Row::Header { .. } => Subject::Header,
        Row::Block { block, .. } => Subject::Block(block.height),
        Row::Posting(posting) => Subject::Posting(posting.posting_id),
        Row::Checkpoint(checkpoint) => Subject::Checkpoint(checkpoint.height),
        Row::End(_) => Subject::End,
    }
}

fn expected(place: &Place) -> &'static str {
    match place {
        Place::Start => "the header",
        Place::In(_) => "a posting of the block",
        Place::Between {
            may_be_signed: true,
        } => "a block, a checkpoint or the end",
        Place::Between {
            may_be_signed: false,
        } => "a block or the end",
        Place::End => "nothing",
    }
}
