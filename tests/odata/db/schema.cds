// A business with deliveries that leave, documents that bill them, and goods that come back. The fields are called as
// in S/4HANA's services for outbound deliveries and billing; the model is our own.
namespace shop;

entity Customers {
  key Customer : String(10);
  CustomerName : String(80);
  CreditBlock  : Boolean default false;
  CreditLimit  : Decimal(15, 2);
  CreditExposure : Decimal(15, 2) default 0;
  LastChangeDateTime : Timestamp @cds.on.insert: $now @cds.on.update: $now;
}

entity Stock {
  key Plant    : String(4);
  key Material : String(18);
  AvailableQuantity : Decimal(13, 3);
}

entity Deliveries {
  key DeliveryDocument : String(10);
  Plant                : String(4);
  SoldToParty          : String(10);
  SoldToPartyName      : String(80);
  TransactionCurrency  : String(3);
  PlannedGoodsIssueTime : Timestamp;
  DeliveryTime         : Timestamp;
  MeansOfTransport     : String(20);
  Carrier              : String(20);
  UnloadingPoint       : String(25);
  ReleaseStatus        : String(1) default 'A';  // A not released, B released
  GoodsMovementStatus  : String(1) default 'A';  // A nothing left, C all of it left
  DeletionFlag         : Boolean default false;
  ExternalReference    : String(60) default '';
  HazardousGoods       : Boolean default false;
  Tag                  : String(36);
  LastChangeDateTime   : Timestamp @cds.on.insert: $now @cds.on.update: $now;
  items : Composition of many DeliveryItems on items.delivery = $self;
}

entity DeliveryItems {
  key delivery : Association to Deliveries;
  key DeliveryDocumentItem : Integer;
  Material               : String(18);
  OrderedQuantity        : Decimal(13, 3);
  ActualDeliveryQuantity : Decimal(13, 3);
  NetPriceAmount         : Decimal(15, 2);
  ItemWeightGrams        : Integer;
}

// What bills a delivery, and what brings goods back. The reference is ours, and each has one document.
@assert.unique: { reference: [ Reference ] }
entity BillingDocuments {
  key BillingDocument : UUID;
  DeliveryDocument : String(10);
  Reference        : String(80);
  items : Composition of many BillingItems on items.document = $self;
}

entity BillingItems {
  key document : Association to BillingDocuments;
  key DeliveryDocumentItem : Integer;
  Quantity : Decimal(13, 3);
}

@assert.unique: { reference: [ Reference ] }
entity Returns {
  key CustomerReturn : UUID;
  DeliveryDocument : String(10);
  Reference        : String(80);
  items : Composition of many ReturnItems on items.document = $self;
}

entity ReturnItems {
  key document : Association to Returns;
  key DeliveryDocumentItem : Integer;
  Quantity : Decimal(13, 3);
}
