//! The codes of findings. A code keeps its meaning for ever: tests, editors and people refer to it.

/// Declares the codes, each with its number and its meaning.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $name:ident = $number:literal,)+) => {
        /// Which kind of thing is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Code {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];

            /// The code as it is written, `M0101`.
            pub fn number(self) -> &'static str {
                match self {
                    $(Code::$name => $number,)+
                }
            }

            /// What it means at length, with an example and what to do, in Markdown.
            pub fn explanation(self) -> &'static str {
                match self {
                    $(Code::$name => include_str!(concat!("explained/", $number, ".md")),)+
                }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Code::$name => concat!($($meaning),+).trim_ascii(),)+
                }
            }
        }
    };
}

codes! {
    /// The file is not UTF-8.
    NotUtf8 = "M0001",
    /// The file is not TOML.
    TomlSyntax = "M0002",
    /// A key that the language does not have.
    UnknownKey = "M0101",
    /// A key that has to be there.
    MissingKey = "M0102",
    /// A value of the wrong shape.
    WrongShape = "M0103",
    /// A word that is none of those possible.
    UnknownWord = "M0104",
    /// Two keys of which one excludes the other, or which need each other.
    KeysDisagree = "M0105",
    /// A name that is empty or holds characters that cannot stand in one.
    InvalidName = "M0201",
    /// A name, or one derived from it, that PostgreSQL would cut off.
    NameTooLong = "M0202",
    /// A name that is given twice.
    DuplicateName = "M0203",
    /// Two names that differ in case only.
    CaseCollision = "M0204",
    /// A name that medallion gives itself.
    ReservedName = "M0205",
    /// A warehouse that is called otherwise than its folder.
    FolderDiffers = "M0206",
    /// A relation that is not there.
    UnknownRelation = "M0301",
    /// A relation of the wrong kind.
    WrongRelation = "M0302",
    /// A column that is not there.
    UnknownColumn = "M0303",
    /// A mart groups or measures by what is not there.
    UnknownInMart = "M0304",
    /// A lookup's alias that is not there.
    UnknownAlias = "M0305",
    /// Relations that need each other.
    RelationCycle = "M0306",
    /// Lookups of one relation that need each other.
    LookupCycle = "M0307",
    /// An unknown type.
    UnknownType = "M0401",
    /// A type with the wrong arguments.
    TypeArguments = "M0402",
    /// A column whose type does not fit its use.
    UnfitType = "M0403",
    /// A column that takes NULL where it must not, or the other way round.
    UnfitNull = "M0404",
    /// A key that is no key.
    UnfitKey = "M0405",
    /// A lookup that does not pair its relation's key.
    UnfitLookup = "M0406",
    /// An enumerated type that PostgreSQL would refuse.
    UnfitEnum = "M0407",
    /// A time zone that is not known.
    UnknownTimeZone = "M0408",
    /// A stretch of time that is none.
    UnfitDuration = "M0409",
    /// SQL that cannot be read.
    SqlSyntax = "M0501",
    /// A mart's file that is not exactly one query.
    NotOneQuery = "M0502",
    /// A mart that reads from outside of the warehouse.
    OutsideWarehouse = "M0503",
    /// A clock where none may be.
    ClockInMart = "M0504",
    /// A measure that is not an aggregate, or an expression that must not be one.
    UnfitExpression = "M0505",
    /// A measure whose type cannot be told.
    UntypedMeasure = "M0506",
    /// A file that is named and not there.
    MissingFile = "M0507",
    /// A value that changes by itself where rows are kept.
    VolatileInMart = "M0508",
    /// A function that reads more than its arguments.
    ReadingFunction = "M0509",
    /// A function that PostgreSQL does not have.
    UnknownFunction = "M0510",
    /// A value that hangs on the order of rows where rows are kept.
    OrderInMart = "M0511",
    /// A column and what stands beside it that PostgreSQL would not compare.
    UnfitComparison = "M0512",
    /// A name of before that something else has now.
    UnfitRename = "M0601",
    /// Something that may go and is still there.
    UnfitDrop = "M0602",
    /// Something would go that the spec does not say may go.
    UnallowedDrop = "M0603",
    /// A new column that takes no NULL, in rows that are there already.
    UnfilledColumn = "M0604",
    /// A change that no migration can make.
    UnmadeChange = "M0605",
    /// A change that meets what another branch does.
    BranchesMeet = "M0606",
    /// A hazard that is allowed and is none.
    UnknownHazard = "M0607",
    /// A column's type becomes one that not every value fits.
    NarrowedColumn = "M0608",
}
