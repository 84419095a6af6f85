#!/usr/bin/env python3
"""seed.py CONFIG DATABASE: what the end-to-end test finds in a fresh Tryton, without a server.

One company with its accounts and fiscal years, two depots with stock, two customers, a few products,
and the users `admin` and `hub`. Sales are made by the test itself. Out: one JSON object with the ids.
"""
import datetime
import json
import sys
from decimal import Decimal

from proteus import Model, Wizard
from proteus import config as proteus_config

CONFIG, DATABASE = sys.argv[1:3]
DEPOTS = ["D1", "D2"]
CUSTOMERS = {"C1": Decimal("20000"), "C2": Decimal("20000")}  # code: credit limit
PRODUCTS = {"P1": Decimal("12.50"), "P2": Decimal("40"), "P3": Decimal("7.25")}  # code: price of a unit
STOCK = 1000.0
HUB_PASSWORD = "hub-pass-1"

session = proteus_config.set_trytond(DATABASE, user="admin", config_file=CONFIG)
get = Model.get


def one(model, *conditions):
    return get(model).find(list(conditions), limit=1)[0]


def saved(model, **values):
    record = get(model)(**values)
    record.save()
    return record


def company():
    # The installation wizards would ask their questions again on every login.
    for item in get("ir.module.config_wizard.item").find([]):
        item.state = "done"
        item.save()
    euro = saved("currency.currency", name="Euro", code="EUR", numeric_code="978", symbol="€")
    euro.rates.new(date=datetime.date(2020, 1, 1), rate=Decimal(1))
    euro.save()
    wizard = Wizard("company.company.config")
    wizard.execute("company")
    wizard.form.party = saved("party.party", name="Two Depots Ltd")
    wizard.form.currency = euro
    wizard.form.timezone = "UTC"
    wizard.execute("add")
    session._context = get("res.user").get_preferences(True, {})
    return one("company.company")


def accounts(company):
    root = get("ir.model.data").get_id("account.account_template_root_en", session.context)
    wizard = Wizard("account.create_chart")
    wizard.execute("account")
    wizard.form.account_template = get("account.account.template")(root)
    wizard.form.company = company
    wizard.execute("create_account")

    def account(kind):
        # Parent accounts of the chart are closed, and an invoice on a closed account fails much later.
        return one("account.account", ("type." + kind, "=", True), ("company", "=", company.id), ("closed", "=", False))

    wizard.form.account_receivable = one(
        "account.account", ("type.receivable", "=", True), ("party_required", "=", True), ("closed", "=", False))
    wizard.form.account_payable = one(
        "account.account", ("type.payable", "=", True), ("party_required", "=", True), ("closed", "=", False))
    wizard.execute("create_properties")
    return account("revenue"), account("expense")


def fiscal_year(company, year):
    def numbers(kind):
        return saved("ir.sequence.strict", name=f"{kind} {year}", company=company,
                     sequence_type=one("ir.sequence.type", ("name", "=", kind)))

    invoices = numbers("Invoice")
    fiscal = get("account.fiscalyear")(
        name=str(year), company=company, move_sequence=numbers("Account Move"),
        start_date=datetime.date(year, 1, 1), end_date=datetime.date(year, 12, 31))
    for row in fiscal.invoice_sequences:
        row.out_invoice_sequence = row.in_invoice_sequence = invoices
        row.out_credit_note_sequence = row.in_credit_note_sequence = invoices
    fiscal.save()
    fiscal.click("create_period")


def products(revenue, expense):
    goods = saved("product.category", name="Goods", accounting=True, account_revenue=revenue, account_expense=expense)
    unit = one("product.uom", ("name", "=", "Unit"))
    made = {}
    for code, price in PRODUCTS.items():
        template = saved("product.template", name=f"Goods {code}", code=code, type="goods", default_uom=unit,
                         salable=True, sale_uom=unit, list_price=price, account_category=goods)
        made[code] = template.products[0]
    return made


def depots(stocked):
    built_in = one("stock.location", ("code", "=", "WH"))
    built_in.name, built_in.code = "Depot D1", "D1"
    built_in.save()
    made = {"D1": built_in}
    for code in DEPOTS[1:]:
        parts = {
            f"{part}_location": saved("stock.location", name=f"{code} {part}", code=f"{code}-{part}", type="storage")
            for part in ("storage", "input", "output")
        }
        made[code] = saved("stock.location", name=f"Depot {code}", code=code, type="warehouse",
                           lost_found_location=built_in.lost_found_location, **parts)
    for depot in made.values():
        inventory = get("stock.inventory")(location=depot.storage_location)
        for product in stocked:
            inventory.lines.new(product=product, quantity=STOCK)
        inventory.click("confirm")
    return made


def customers(term):
    made = {}
    for code, limit in CUSTOMERS.items():
        party = get("party.party")(name=f"Customer {code}", code=code, customer_payment_term=term)
        party.addresses[0].street, party.addresses[0].city = "1 Quay", "Harbour"
        party.credit_limit_amount = limit
        party.save()
        made[code] = party
    return made


def hub_user(company):
    user = get("res.user")(name="Hub", login="hub", password=HUB_PASSWORD, company=company)
    user.companies.append(company)
    # Not an administrator: the test also shows that the connector needs no more than these.
    for group in get("res.group").find([("name", "in", ["Sales", "Sale Amendment", "Stock", "Accounting"])]):
        user.groups.append(group)
    user.save()


firm = company()
revenue, expense = accounts(firm)
for year in (datetime.date.today().year, datetime.date.today().year + 1):
    fiscal_year(firm, year)
term = get("account.invoice.payment_term")(name="At once")
term.lines.new(type="remainder")
term.save()
goods = products(revenue, expense)
places = depots(goods.values())
parties = customers(term)
hub_user(firm)

print(json.dumps({
    "company": firm.id,
    "currency": firm.currency.id,
    "payment_term": term.id,
    "warehouses": {code: record.id for code, record in places.items()},
    "customers": {code: {"id": p.id, "address": p.addresses[0].id} for code, p in parties.items()},
    "products": {code: {"id": p.id, "unit": p.default_uom.id, "price": str(PRODUCTS[code])} for code, p in goods.items()},
    "users": {"admin": "admin-pass-1", "hub": HUB_PASSWORD},
}))
