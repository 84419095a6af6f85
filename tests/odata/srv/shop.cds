using shop from '../db/schema';

@requires: 'authenticated-user'
@path: '/odata/v4/shop'
service ShopService {
  entity Deliveries as projection on shop.Deliveries actions {
    action PostGoodsIssue() returns Deliveries;
  };
  annotate Deliveries with { Tag @odata.etag };
  entity DeliveryItems as projection on shop.DeliveryItems;
  @readonly entity Customers as projection on shop.Customers;
  @readonly entity Stock as projection on shop.Stock;
  entity BillingDocuments as projection on shop.BillingDocuments;
  entity Returns as projection on shop.Returns;
}
