"""A Tryton as the test sees it: as its users, over JSON-RPC, and as an auditor of what was posted."""
import base64
import decimal
import json
import urllib.request

# Loopback only; a proxy that the environment names must not see it.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """Tryton answered with an error; its class name and its words."""


class Tryton:
    """One user's session."""

    def __init__(self, server, user):
        self.server = server
        self.address = f"{server['url']}/{server['database']}/rpc/"
        self.context = {"company": server["company"], "companies": [server["company"]], "language": "en"}
        self.authorization = None
        uid, token, *_ = self._ask("common.db.login", [user, {"password": server["users"][user]}, "en"])
        self.authorization = "Session " + base64.b64encode(f"{user}:{uid}:{token}".encode()).decode()

    def _ask(self, method, params):
        # Exactly these three keys: with any other set Tryton answers errors as HTML pages.
        body = json.dumps({"id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.address, body, {"Content-Type": "application/json"})
        if self.authorization:
            request.add_header("Authorization", self.authorization)
        answer = json.load(OPENER.open(request, timeout=60))
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def call(self, model, method, *params):
        return self._ask(f"model.{model}.{method}", [*params, self.context])

    def find(self, model, domain, fields):
        return self.call(model, "search_read", domain, 0, None, [["id", "ASC"]], fields)

    def confirm_sale(self, customer, depot, lines, reference, **more):
        """Makes a sale, confirms it, and gives its id. `lines` is a list of (product code, quantity)."""
        server, party = self.server, self.server["customers"][customer]

        def line(code, quantity):
            product = server["products"][code]
            return {"product": product["id"], "unit": product["unit"], "quantity": float(quantity),
                    "unit_price": {"__class__": "Decimal", "decimal": product["price"]}}

        sale, = self.call("sale.sale", "create", [{
            "party": party["id"], "invoice_address": party["address"], "shipment_address": party["address"],
            "shipment_party": None, "warehouse": server["warehouses"][depot], "currency": server["currency"],
            "payment_term": server["payment_term"], "invoice_method": "fulfillment", "shipment_method": "order",
            "reference": reference, "lines": [["create", [line(*each) for each in lines]]], **more,
        }])
        for button in ("quote", "confirm"):
            self.call("sale.sale", button, [sale])
        return sale

    def cancel_shipments(self, sale):
        """What a clerk does to stop a confirmed sale: Tryton refuses to cancel it once it is processing."""
        shipments = [s["id"] for s in self.shipments(sale)]
        self.call("stock.shipment.out", "cancel", shipments)

    # --- what a control plants: documents beside the sale's own flow ---

    def plant_invoice(self, sale, code, quantity):
        """A second draft invoice over a line of `sale`, as a posting that was applied twice would leave."""
        line, = self.find("sale.line", [["sale", "=", sale], ["product.code", "=", code]], ["id", "unit", "unit_price"])
        first, = self.find("account.invoice.line", [["origin", "=", f"sale.line,{line['id']}"]], ["invoice", "account"])[:1]
        invoice, = self.call("account.invoice", "copy", [first["invoice"]], {"lines": None})
        self.call("account.invoice.line", "create", [{
            "invoice": invoice, "type": "line", "origin": f"sale.line,{line['id']}", "account": first["account"],
            "product": self.server["products"][code]["id"], "quantity": float(quantity), "unit": line["unit"],
            "unit_price": line["unit_price"], "currency": self.server["currency"],
        }])

    def plant_shipment(self, sale, code, quantity):
        """A second done shipment over a line of `sale`."""
        line, = self.find("sale.line", [["sale", "=", sale], ["product.code", "=", code]], ["id", "unit", "unit_price"])
        first, = self.find("stock.move", [["origin", "=", f"sale.line,{line['id']}"], ["state", "=", "done"]],
                           ["shipment", "from_location", "to_location"])[:1]
        known = self.find("stock.shipment.out", [["id", "=", int(first["shipment"].partition(",")[2])]],
                          ["customer", "delivery_address", "warehouse", "warehouse_storage", "warehouse_output"])[0]
        known.pop("id")
        shipment, = self.call("stock.shipment.out", "create", [known | {
            "outgoing_moves": [["create", [{
                "product": self.server["products"][code]["id"], "quantity": float(quantity), "unit": line["unit"],
                "unit_price": line["unit_price"], "currency": self.server["currency"],
                "from_location": first["from_location"], "to_location": first["to_location"],
                "origin": f"sale.line,{line['id']}",
            }]]],
        }])
        for button in ("wait", "assign_try", "pick", "pack", "do"):
            self.call("stock.shipment.out", button, [shipment])

    def sale(self, sale):
        return self.find("sale.sale", [["id", "=", sale]], [
            "number", "reference", "state", "shipment_state", "invoice_state"])[0]

    def shipments(self, sale):
        rows = self.find("sale.sale", [["id", "=", sale]], ["shipments"])
        return self.find("stock.shipment.out", [["id", "in", rows[0]["shipments"]]], ["number", "state", "reference"])


def books(tryton):
    """Everything that was posted: done shipments and invoices, each with its sales and its units by product.

    Read from the moves and the invoice lines, by way of their origin, and not from the lists that a
    sale keeps of them, so that one made beside the sale's own flow counts too.
    """
    codes = {p["id"]: code for code, p in tryton.server["products"].items()}
    sale_of = {row["id"]: row["sale"] for row in tryton.find("sale.line", [], ["sale"])}

    def gather(documents, rows, document_of):
        for row in rows:
            document = documents.get(row[document_of])
            model, _, line = (row["origin"] or "").partition(",")
            if document is None or model != "sale.line":
                continue
            document["sales"].add(sale_of.get(int(line)))
            code = codes[row["product"]]
            document["units"][code] = document["units"].get(code, 0) + row["quantity"]
        return list(documents.values())

    def empty(row, kind):
        return {"kind": kind, "id": row["id"], "number": row["number"], "state": row["state"], "sales": set(), "units": {}}

    shipments = {row["id"]: empty(row, "shipment") for row in tryton.find(
        "stock.shipment.out", [["state", "in", ["done", "shipped"]]], ["number", "state"])}
    outgoing = {}
    for move in tryton.find("stock.move", [["to_location.type", "=", "customer"], ["state", "=", "done"]],
                            ["shipment", "origin", "product", "quantity"]):
        model, _, shipment = (move["shipment"] or "").partition(",")
        move["document"] = int(shipment) if model == "stock.shipment.out" else None
        outgoing[move["id"]] = move
    # Goods that left on a move of their own count as a shipment that nobody made.
    for move in outgoing.values():
        if move["document"] not in shipments:
            move["document"] = ("move", move["id"])
            shipments[move["document"]] = empty({"id": move["id"], "number": None, "state": "done"}, "shipment")
    invoices = {row["id"]: empty(row, "invoice") for row in tryton.find(
        "account.invoice", [["type", "=", "out"], ["state", "!=", "cancelled"]], ["number", "state"])}
    lines = tryton.find("account.invoice.line", [["invoice", "!=", None]], ["invoice", "origin", "product", "quantity"])
    return gather(shipments, outgoing.values(), "document") + gather(invoices, lines, "invoice")


def faults(posted, expected):
    """What is wrong with the books, one sentence each; none if every sale has what `expected` says of it.

    `expected` gives for each sale the units by product that left, or nothing ({}) if it must have no posting.
    """
    told = []
    for sale, units in expected.items():
        for kind in ("shipment", "invoice"):
            found = [document for document in posted if document["kind"] == kind and sale in document["sales"]]
            wanted = 1 if units else 0
            if len(found) != wanted:
                told.append(f"sale {sale} has {len(found)} {kind}(s), not {wanted}")
            total = {}
            for document in found:
                for code, quantity in document["units"].items():
                    total[code] = total.get(code, 0) + quantity
            if decimals(total) != decimals(units):
                told.append(f"sale {sale} has {kind}s over {total}, not {units}")
    for document in posted:
        if not document["sales"] & set(expected):
            told.append(f"{document['kind']} {document['id']} belongs to no order of this test")
    return told


def decimals(units):
    return {code: decimal.Decimal(str(quantity)) for code, quantity in units.items()}
