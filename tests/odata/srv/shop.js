// What the business allows. Each refusal has a code, as real ones have.
const cds = require('@sap/cds');

module.exports = class ShopService extends cds.ApplicationService {
  init() {
    const { Deliveries, DeliveryItems, Customers } = this.entities;
    const fresh = () => cds.utils.uuid();

    this.before('CREATE', Deliveries, (req) => { req.data.Tag = fresh(); });

    this.before('UPDATE', Deliveries, async (req) => {
      const delivery = await SELECT.one.from(req.subject);
      if (!delivery) return;
      if (delivery.DeletionFlag && req.data.ReleaseStatus === 'B') {
        req.reject({ status: 400, code: 'VL/051', message: 'Delivery is flagged for deletion and cannot be released' });
      }
      req.data.Tag = fresh();
    });

    // The tag of a delivery covers its items.
    this.before('UPDATE', DeliveryItems, async (req) => {
      const item = await SELECT.one.from(req.subject);
      if (!item) return;
      const delivery = await SELECT.one.from(Deliveries, { DeliveryDocument: item.delivery_DeliveryDocument });
      if (delivery.GoodsMovementStatus === 'C') {
        req.reject({ status: 400, code: 'VL/609', message: 'Items of a delivery that left cannot be changed' });
      }
      await UPDATE(Deliveries, { DeliveryDocument: delivery.DeliveryDocument }).with({ Tag: fresh() });
    });

    this.on('PostGoodsIssue', Deliveries, async (req) => {
      const delivery = await SELECT.one.from(req.subject);
      if (!delivery) req.reject(404);
      if (delivery.GoodsMovementStatus === 'C') {
        req.reject({ status: 400, code: 'VL/608', message: 'Goods movement already posted', target: 'GoodsMovementStatus' });
      }
      const customer = await SELECT.one.from(Customers, { Customer: delivery.SoldToParty });
      if (customer?.CreditBlock) {
        req.reject({ status: 422, code: 'VL/367', message: 'Customer is blocked: credit check not passed' });
      }
      await UPDATE(req.subject).with({ GoodsMovementStatus: 'C', Tag: fresh() });
      return SELECT.one.from(req.subject);
    });
    return super.init();
  }
};
