"""What the built-in requests are about: twelve matters, each with its material and its people."""

from __future__ import annotations

import dataclasses

Words = tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Theme:
    """One matter that a client needs help with, and the material that the client has of it.

    A name of the material follows "the", save for recordings and details, which bring their own.
    """

    project: str
    """As in "the next steps of the office move"."""
    matter: str
    """As in "Alder Bank needs help with its move to a new office"."""
    recording: Words
    picture: Words
    """Plural."""
    document: Words
    detail: Words
    """What can be read in one of the documents, as in "extract the rent from the lease"."""
    question: Words
    """Questions that the documents answer, as in "answer whether the lease allows a sublet"."""
    table: Words
    """Figures over time, plural."""
    does: Words
    """What a script may do, as in "write a script that assigns desks to teams"."""
    system: str
    """Where scripts put their results."""
    plan: Words
    """What can be planned."""
    letter: Words
    """What can be drafted."""


THEMES = (
    Theme(
        project="office move",
        matter="its move to a new office",
        recording=(
            "the recording of the talk with the landlord",
            "the recording of the staff meeting about the move",
        ),
        picture=("floor plans", "photos of the new rooms"),
        document=("lease", "offers of the movers", "house rules"),
        detail=(
            "the rent and the notice periods from the lease",
            "all prices from the offers of the movers",
            "the rules for deliveries from the house rules",
        ),
        question=(
            "whether the lease allows a sublet",
            "which offer of the movers is the cheapest",
            "who pays for repairs under the lease",
        ),
        table=("desk bookings", "energy bills"),
        does=(
            "assigns desks to teams",
            "prints a label for every box",
            "finds duplicates in the inventory",
        ),
        system="desk booking system",
        plan=("the weekend of the move", "the clearing of the old office", "the network set-up"),
        letter=("a letter to the landlord", "a notice to all staff", "an order for furniture"),
    ),
    Theme(
        project="product launch",
        matter="the launch of its new product",
        recording=("the recording of the customer talks", "the recording of the launch rehearsal"),
        picture=("product photos", "drafts of the packaging"),
        document=("product specification", "press kit", "market study"),
        detail=(
            "all sizes and part numbers from the product specification",
            "the prices of competitors from the market study",
            "all names and quotes from the press kit",
        ),
        question=(
            "whether the press kit agrees with the product specification",
            "which competitors the market study names",
            "which markets ask for another certificate",
        ),
        table=("advance orders", "website visits"),
        does=(
            "computes the price list of every market",
            "searches the product texts for banned words",
            "sends the press kit to a mailing list",
        ),
        system="web shop",
        plan=("the launch day", "the first month of sales", "the shipment of samples"),
        letter=("a press release", "a product sheet", "a letter to the retailers"),
    ),
    Theme(
        project="water damage claim",
        matter="a claim for water damage in its warehouse",
        recording=(
            "the recording of the call with the insurer",
            "the voice memos of the warehouse manager",
        ),
        picture=("photos of the damage", "scanned receipts"),
        document=("insurance policy", "report of the assessor", "repair quotes"),
        detail=(
            "the limits and exclusions from the insurance policy",
            "all damaged items from the report of the assessor",
            "the totals from the repair quotes",
        ),
        question=(
            "whether the insurance policy covers burst pipes",
            "which deadline the insurance policy sets for claims",
            "what the assessor says about the cause",
        ),
        table=("humidity readings", "stock losses"),
        does=(
            "adds up the losses by room",
            "matches receipts with stock numbers",
            "flags humidity readings above a limit",
        ),
        system="claims archive",
        plan=("the repair of the warehouse", "the sale of damaged stock", "the assessor's visit"),
        letter=(
            "a letter of claim to the insurer",
            "a statement of the losses",
            "a notice of delays to customers",
        ),
    ),
    Theme(
        project="hiring round",
        matter="its hiring round",
        recording=("the recording of the job interviews", "the recording of the hiring panel"),
        picture=("scanned certificates", "photos of the career fair"),
        document=("applications", "job description", "works agreement"),
        detail=(
            "all degrees and years of experience from the applications",
            "the required skills from the job description",
            "the probation and notice periods from the works agreement",
        ),
        question=(
            "which applications lack a certificate",
            "whether the job description agrees with the works agreement",
            "which salary band the works agreement sets",
        ),
        table=("application counts", "interview scores"),
        does=(
            "finds free slots for interviews",
            "removes names and photos from applications",
            "sends a receipt for every application",
        ),
        system="applicant database",
        plan=("the interview week", "the first month of the new colleagues", "the career fair"),
        letter=("a job advertisement", "an invitation to interviews", "a contract offer"),
    ),
    Theme(
        project="database migration",
        matter="the migration of its customer database",
        recording=(
            "the recording of the architecture review",
            "the recording of the call with the provider",
        ),
        picture=("network diagrams", "screenshots of the error messages"),
        document=("data model", "service contract", "test reports"),
        detail=(
            "all tables and keys from the data model",
            "the guaranteed response times from the service contract",
            "all failed cases from the test reports",
        ),
        question=(
            "whether the service contract covers weekend work",
            "which tables of the data model have no key",
            "which failed tests block the migration",
        ),
        table=("query times", "storage figures"),
        does=(
            "copies the customer table in batches",
            "compares row counts before and after",
            "masks personal data in a dump",
        ),
        system="ticket system",
        plan=("the night of the migration", "the roll-back", "the training of the support team"),
        letter=("a notice of downtime to customers", "a runbook", "a security statement"),
    ),
    Theme(
        project="annual audit",
        matter="its annual audit",
        recording=(
            "the recording of the meeting with the auditors",
            "the recording of the stocktaking briefing",
        ),
        picture=("scanned invoices", "photos of the stocktaking"),
        document=("annual report", "bank statements", "audit guidelines"),
        detail=(
            "all figures on debt from the annual report",
            "all transfers above 10,000 euros from the bank statements",
            "the required records from the audit guidelines",
        ),
        question=(
            "whether the annual report states all loans",
            "which records the audit guidelines ask for",
            "which transfers have no invoice",
        ),
        table=("ledger entries", "travel expenses"),
        does=(
            "matches invoices with transfers",
            "finds entries that were booked twice",
            "exports the ledger by cost centre",
        ),
        system="document archive",
        plan=("the visit of the auditors", "the stocktaking", "the closing of the books"),
        letter=("a reply to the auditors", "a management statement", "a memo on open invoices"),
    ),
    Theme(
        project="website relaunch",
        matter="the relaunch of its website",
        recording=("the recording of the user tests", "the recording of the design workshop"),
        picture=("drafts of the pages", "screenshots of the old website"),
        document=("style guide", "privacy notice", "texts of the old website"),
        detail=(
            "all colours and fonts from the style guide",
            "all third parties from the privacy notice",
            "all addresses and phone numbers from the texts of the old website",
        ),
        question=(
            "whether the privacy notice covers newsletters",
            "which pages the style guide leaves out",
            "which texts of the old website are out of date",
        ),
        table=("page views", "loading times"),
        does=(
            "redirects the old addresses",
            "searches all pages for broken links",
            "shrinks the pictures for phones",
        ),
        system="content management system",
        plan=("the switch to the new website", "the user tests", "the transfer of the old texts"),
        letter=(
            "a briefing for the agency",
            "a newsletter about the new website",
            "an accessibility statement",
        ),
    ),
    Theme(
        project="safety training",
        matter="its yearly safety training",
        recording=(
            "the recording of the fire drill debriefing",
            "the recording of last year's course",
        ),
        picture=("photos of the escape routes", "scanned attendance sheets"),
        document=("safety handbook", "accident reports", "machine manuals"),
        detail=(
            "all emergency numbers from the safety handbook",
            "the place and cause of each case from the accident reports",
            "all warnings from the machine manuals",
        ),
        question=(
            "which machines need a second person",
            "whether the safety handbook covers night shifts",
            "which accidents could have been avoided",
        ),
        table=("accident counts", "course results"),
        does=(
            "reminds everyone whose course is due",
            "draws the questions of a quiz",
            "counts accidents by department",
        ),
        system="learning platform",
        plan=("the training week", "a fire drill on all floors", "the renewal of first-aid kits"),
        letter=("a leaflet on escape routes", "a quiz for new colleagues", "a course invitation"),
    ),
    Theme(
        project="trade fair",
        matter="its stand at a trade fair",
        recording=("the recording of the last fair panel", "the voice memos of the stand team"),
        picture=("drawings of the stand", "scanned business cards"),
        document=("exhibitor rules", "quotes of the stand builders", "brochures of competitors"),
        detail=(
            "all deadlines and fees from the exhibitor rules",
            "the prices and delivery dates from the quotes of the stand builders",
            "all product names from the brochures of competitors",
        ),
        question=(
            "whether the exhibitor rules allow a second floor",
            "which of the stand builders delivers first",
            "which products the competitors show",
        ),
        table=("visitor counts", "enquiries"),
        does=(
            "turns business cards into contacts",
            "shares out shifts among the stand team",
            "counts enquiries by country",
        ),
        system="contact database",
        plan=("the set-up of the stand", "the shifts of the stand team", "the talks at the stand"),
        letter=("an invitation to customers", "a follow-up letter to visitors", "a brochure"),
    ),
    Theme(
        project="change of supplier",
        matter="a change of its packaging supplier",
        recording=("the recording of the price negotiation", "the recording of the factory tour"),
        picture=("photos of the samples", "scanned delivery notes"),
        document=("supplier contract", "quality reports", "tender documents"),
        detail=(
            "the payment terms and penalties from the supplier contract",
            "all rejected batches from the quality reports",
            "the required certificates from the tender documents",
        ),
        question=(
            "whether the supplier contract can be ended this year",
            "which certificates the tender documents ask for",
            "why batches were rejected",
        ),
        table=("delivery times", "complaint figures"),
        does=(
            "compares the prices of two suppliers",
            "flags late deliveries",
            "computes the penalties for late deliveries",
        ),
        system="purchasing system",
        plan=(
            "the switch to the new supplier",
            "the test of the samples",
            "the last orders from the old supplier",
        ),
        letter=("a notice of termination", "a call for bids", "a letter to the new supplier"),
    ),
    Theme(
        project="energy saving programme",
        matter="its energy saving programme",
        recording=(
            "the recording of the energy consultant's talk",
            "the recording of the workshop with the caretakers",
        ),
        picture=("thermal images", "photos of the meters"),
        document=("energy report", "heating manuals", "funding guidelines"),
        detail=(
            "all recommended measures from the energy report",
            "the default settings from the heating manuals",
            "the conditions and rates from the funding guidelines",
        ),
        question=(
            "which measures the funding guidelines cover",
            "whether the heating can be lowered at night",
            "which measure of the energy report pays off first",
        ),
        table=("electricity readings", "gas bills"),
        does=(
            "reads the meters every hour",
            "estimates the saving of each measure",
            "warns of unusual consumption",
        ),
        system="building management system",
        plan=("the exchange of windows", "the new heating times", "the fitting of solar panels"),
        letter=("an application for funding", "a leaflet with tips", "a request for quotes"),
    ),
    Theme(
        project="customer survey",
        matter="its customer survey",
        recording=("the recording of the focus group", "the recording of the support calls"),
        picture=("scanned paper forms", "photos of the shop floor"),
        document=("questionnaire", "customer letters", "survey report of last year"),
        detail=(
            "all answer options from the questionnaire",
            "all complaints from the customer letters",
            "the key figures from the survey report of last year",
        ),
        question=(
            "which complaints come most often",
            "whether the questionnaire asks for personal data",
            "what the survey report of last year recommends",
        ),
        table=("survey answers", "return rates"),
        does=(
            "removes duplicate answers",
            "weights answers by age group",
            "draws a random sample of customers",
        ),
        system="survey platform",
        plan=(
            "the second round of the survey",
            "the interviews by phone",
            "the publication of the results",
        ),
        letter=(
            "a cover letter for the survey",
            "a reminder to the participants",
            "a thank-you note to the participants",
        ),
    ),
)
"""All themes; the built-in workflows deal them out evenly."""
